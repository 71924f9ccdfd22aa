"""The tenant column that models declare: its type, and its value in sessions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, ColumnDefault, Integer, Table

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.binding import BINDING
from tenantkit.isolation.tenant_column import ColumnType, TenantColumn

_TYPES: dict[str, ColumnType] = {
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "TEXT": "text",
    "VARCHAR": "text",
    "UUID": "uuid",
}
_TYPE = re.compile(r"([A-Z]+)(?:\((\d+)\))?")


class RowColumn:
    """The tenant column of a deployment: tenantkit's own, or the one that models declare."""

    def __init__(self, name: str | None, classify: Callable[[], object]) -> None:
        """Take the *name* of the declared column, and what calls `prepare` with the tables."""
        self.name = name
        self._classify = classify
        self._found = TenantColumn() if name is None else None

    def __call__(self) -> TenantColumn:
        """Return the column.

        :raises ConfigurationError: if no table declares it.
        """
        if self._found is None:
            self._classify()
        if self._found is None:
            raise ConfigurationError(
                f"No tenant table declares the column of row_column={self.name!r}. Import your models first, or leave "
                "out row_column=: then tenantkit adds a column of its own."
            )
        return self._found

    def prepare(self, tables: Iterable[Table]) -> None:
        """Find the column in tenant *tables*, and let sessions fill it where the application does not.

        :raises ConfigurationError: if one declares it in a way that cannot be used.
        """
        if self.name is None:
            return
        found: dict[TenantColumn, str] = {}
        for table in tables:
            declared = TenantColumn(self.name).find(table.columns)
            if declared is not None:
                found.setdefault(read_column(declared), table.fullname)
                _require_key(table, self.name)
                if declared.default is None and declared.server_default is None:
                    ColumnDefault(_value_of_session)._set_parent_with_dispatch(declared)  # noqa: SLF001
        if len(found) > 1:
            (one, first), (other, second), *_ = found.items()
            raise ConfigurationError(
                f"The column {self.name!r} has different types: {one.type} in {first}, {other.type} in "
                f"{second}. Give it the same in all tables."
            )
        self._found = next(iter(found), None)

    def new_value(self, given: object) -> str | None:
        """Return the value of a new tenant, as the registry keeps it; ``None`` for its id. A UUID is made if needed.

        :raises ConfigurationError: if the column cannot have the *given* value, or there is no such column.
        """
        if self.name is None:
            if given is None:
                return None
            raise ConfigurationError(
                f"row_value={given!r} is for the column that Tenancy(row_column=...) names, and there is none. Leave "
                "it out: tenantkit's own column has the ids of tenants."
            )
        if given is None:
            return str(uuid4()) if self().type == "uuid" else None
        return str(self().parse(given))


def read_column(declared: Column[Any]) -> TenantColumn:
    """Return the tenant column that is declared as *declared*.

    :raises ConfigurationError: if it has a type that a tenant column cannot have.
    """
    # The dialect takes long to import, and not every deployment has such a column.
    from sqlalchemy.dialects.postgresql import dialect  # noqa: PLC0415

    match = _TYPE.fullmatch(declared.type.compile(dialect()))  # type: ignore[no-untyped-call]
    if match is None or match[1] not in _TYPES or (match[2] and match[1] != "VARCHAR"):
        raise ConfigurationError(
            f"The column {declared} has the type {declared.type!r}, which a tenant column cannot have. Use Uuid, "
            "BigInteger, Integer or String."
        )
    length = None if match[2] is None else int(match[2])
    return TenantColumn(declared.name, _TYPES[match[1]], length, is_declared=True)


def _require_key(table: Table, name: str) -> None:
    """Raise if a table that declares the column has an integer as its key, which must be unique among all tenants."""
    columns = list(table.primary_key.columns)
    if len(columns) == 1 and columns[0].name != name and columns[0].type._type_affinity is Integer:  # noqa: SLF001
        raise ConfigurationError(
            f"The table {table.fullname} declares the tenant column {name!r}, and has the integer key "
            f"{columns[0].name!r}, by which rows of tenants could not be moved between common tables and schemas. Use "
            "a Uuid as its key, or add the tenant column to the key; or leave out row_column= and the column, so that "
            "tenantkit adds a column of its own to all keys."
        )


def _value_of_session(context: Any) -> Any:
    """Return the value of the tenant of the session that executes a statement; without one, NULL is refused."""
    binding = context.execution_options.get(BINDING)
    return None if binding is None else binding.value
