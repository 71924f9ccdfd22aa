"""Requests to routes, with values of canary rows for the parameters whose names tell the column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, inspect

from tenantkit.testing.clients import Request, encode
from tenantkit.testing.routes import Parameter, Route
from tenantkit.testing.schemas import Examples, Schema, has_type

_KEY = re.compile(r"(?:^|_)ids?$|[a-z]Ids?$")


class UnknownParameterError(Exception):
    """There is no value for a parameter."""


@dataclass(frozen=True, slots=True)
class Filler:
    """Makes requests for routes."""

    rows: Mapping[Table, Mapping[str, Any]]
    """A canary row of each table, all of one tenant, which belong together."""
    text: str
    """A new canary, for what is sent."""
    document: Schema
    parameters: Mapping[str, Any]
    """The columns, or mapped attributes, that are meant by parameters of other names."""

    def request(self, route: Route) -> Request:
        """Return a request to *route*.

        :raises UnknownParameterError: if a parameter in the path has no value.
        """
        path, query, headers = route.path, list[str](), dict[str, str]()
        for parameter in route.parameters:
            value = self._value(parameter, route)
            if parameter.place == "path":
                path = path.replace(f"{{{parameter.name}}}", encode(value))
            elif value is not None and parameter.place == "query":
                query.append(f"{parameter.name}={encode(value)}")
            elif value is not None:
                headers[parameter.name] = str(value)
        if query:
            path += f"?{'&'.join(query)}"
        if (given := route.request) is not None:
            headers |= given.headers
            return Request(method=route.method, path=path, json=given.json, form=given.form, headers=headers)
        body = None if route.body is None else self._examples(route).make(route.body)
        if route.is_form:
            return Request(method=route.method, path=path, form=body or {}, headers=headers)
        return Request(method=route.method, path=path, json=body, headers=headers)

    def _examples(self, route: Route) -> Examples:
        def key_for(name: str) -> Any:
            known = self._from_rows(name, route.path) if _KEY.search(name) else None
            return str(known) if isinstance(known, UUID) else known

        return Examples(self.document, self.text, key_for)

    def _value(self, parameter: Parameter, route: Route) -> Any:
        if parameter.place == "query" and (text := self._text_near(parameter, route)) is not None:
            return text
        if (known := self._from_rows(parameter.name, route.path)) is not None:
            return known
        if parameter.place != "path":
            return self._examples(route).make(parameter.schema) if parameter.is_required else None
        if has_type(parameter.schema, "integer") and (known := self._from_rows("id", route.path)) is not None:
            return known
        if parameter.schema.keys() & {"enum", "const", "default"}:
            return self._examples(route).make(parameter.schema)
        raise UnknownParameterError(
            f"no column is known for its parameter {parameter.name!r}: pass parameters={{{parameter.name!r}: "
            "Model.column}"
        )

    def _from_rows(self, name: str, path: str) -> Any:
        """Return the value of the column that a parameter seems to mean."""
        if (given := self.parameters.get(name)) is not None:
            table = given.table if isinstance(given, Column) else inspect(given.class_).local_table
            return self._cell(table, given.key)
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
        stem, last = "_".join(words[:-1]), words[-1]
        before = re.search(rf"([\w-]+)/{{{re.escape(name)}}}", path)
        meant = [(stem, last), *([(_singular(before[1]), name)] if before else []), ("_".join(words), "id")]
        known = (self._cell(table, column) for subject, column in meant for table in self._tables(subject))
        anywhere = (row[name] for row in self.rows.values() if name != "id" and name in row)
        return next((value for value in (*known, *anywhere) if value is not None), None)

    def _text_near(self, parameter: Parameter, route: Route) -> str | None:
        """Return text from a row that a search may find, for a parameter that takes any text."""
        if parameter.name in self.parameters or not has_type(parameter.schema, "string"):
            return None
        if parameter.schema.keys() & {"enum", "format", "pattern", "default"}:
            return None
        subject = _singular(re.sub(r"/?{\w+}", "", route.path).rpartition("/")[2])
        texts = (value for table in self._tables(subject) for value in self.rows[table].values())
        return next((each for each in texts if isinstance(each, str)), None)

    def _tables(self, subject: str) -> Iterator[Table]:
        yield from (table for table in self.rows if _singular(table.name) == subject)

    def _cell(self, table: Table, name: str) -> Any:
        row = self.rows.get(table, {})
        keys = [column.name for column in table.primary_key.columns]
        return row.get(keys[0] if name == "id" and name not in row and len(keys) == 1 else name)


def _singular(name: str) -> str:
    name = name.lower().replace("-", "_")
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
