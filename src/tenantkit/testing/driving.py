"""Requests to all routes of an application as one tenant, and the search for canaries in what comes of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from tenantkit.exceptions.base import as_clause
from tenantkit.testing.canaries import Canaries, Canary
from tenantkit.testing.clients import SAFE, Client, Request, Response
from tenantkit.testing.filling import Filler, UnknownParameterError
from tenantkit.testing.report import IsolationReport
from tenantkit.testing.routes import Route
from tenantkit.testing.row_checks import tripwire

_FAILED = 400
_SERVER_ERROR = 500
_REDIRECT = 300


class Driver:
    """Calls routes, and records what it finds in *report*."""

    def __init__(
        self,
        canaries: Canaries,
        report: IsolationReport,
        document: Mapping[str, Any],
        parameters: Mapping[str, Any],
        own: str,
    ) -> None:
        """Call nothing yet; what a route proves is decided by the responses to the tenant with the key *own*."""
        self.seen: set[str] = set()
        """The keys of the tenants that have seen their own rows."""
        self._own = own
        self._canaries = canaries
        self.report = report
        self._document = document
        self._parameters = parameters
        self._served: str | None = None
        self._sent = ""
        self._where = ""
        self._route = ""
        self._statuses: dict[str, set[int]] = {}

    def drive(self, client: Client, routes: Iterable[Route], *, foreign: str | None = None) -> None:
        """Call each of *routes* with values of the tenant's own rows, then with those of the tenant *foreign*."""
        for route in routes:
            if route.obstacle is not None:
                self.report.unproven[route.name] = route.obstacle
                continue
            text = self._canaries.text(client.tenant.key, route.name)
            requests: list[Request] = []
            for key, number in ((client.tenant.key, 0), *(((foreign, 0), (foreign, -1)) if foreign else ())):
                filler = Filler(self._rows(key, number), text, self._document, self._parameters)
                try:
                    request = filler.request(route)
                except UnknownParameterError as error:
                    self.report.unproven[route.name] = str(error)
                    break
                if request not in requests:
                    requests.append(request)
                    self._call(client, route, request)

    def conclude(self) -> None:
        """Record the routes that have not answered as they should."""
        for name, statuses in self._statuses.items():
            is_reading = name.split()[0] in SAFE
            if all(status >= (_REDIRECT if is_reading else _FAILED) for status in statuses):
                self.report.unproven[name] = f"it only answered {', '.join(map(str, sorted(statuses)))}"

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch the sessions and the log records of the block."""
        root, handler = logging.getLogger(), _Handler(self._log)
        level = root.level
        root.addHandler(handler)
        root.setLevel(min(level, logging.INFO))
        try:
            with tripwire(self._canaries, served=lambda: self._served, on_leak=self._loaded):
                yield
        finally:
            root.setLevel(level)
            root.removeHandler(handler)

    def _rows(self, key: str, number: int) -> dict[Any, Mapping[str, Any]]:
        every = {**self._canaries.rows.get(None, {}), **self._canaries.rows[key]}
        return {table: rows[number] for table, rows in every.items() if rows}

    def _call(self, client: Client, route: Route, request: Request) -> None:
        self._served, self._where = client.tenant.key, f"{request.method} {unquote(request.path)}"
        self._sent = f"{self._where} {json.dumps(request.json, default=str)} {request.form} {request.headers}"
        self._route = route.name
        response = client.request(
            request.method, request.path, json=request.json, form=request.form, headers=request.headers
        )
        self._look("body", response.text)
        for name, value in response.headers:
            self._look(f"header {name}", unquote(value))
        self._note(response)
        has_own = self._canaries.of(client.tenant.key, response.text, sent=self._sent)
        if has_own:
            self.seen.add(client.tenant.key)
        if client.tenant.key == self._own:
            self._statuses.setdefault(route.name, set()).add(response.status)
            if has_own:
                self.report.proven.add(route.name)
        self._served = None

    def _note(self, response: Response) -> None:
        if (error := response.error) is not None:
            self.report.errors[self._route] = f"it raised {type(error).__name__}: {as_clause(error)}"
        elif response.status >= _SERVER_ERROR:
            self.report.errors.setdefault(self._route, f"it answered {response.status}")

    def _look(self, part: str, text: str) -> None:
        if self._served is not None:
            found = self._canaries.of_others(text, self._served, sent=self._sent)
            self.report.add(self._served, f"{self._where}: {part}", found)

    def _log(self, record: logging.LogRecord, text: str) -> None:
        self._look(f"log record of {record.name}", text)
        if record.exc_info and (error := record.exc_info[1]) is not None and self._served is not None:
            self.report.errors[self._route] = f"it raised {type(error).__name__}: {as_clause(error)}"

    def _loaded(self, message: str, canary: Canary) -> None:
        if self._served is not None:
            self.report.add(self._served, f"{self._where}: {message}", [canary])


class _Handler(logging.Handler):
    """Hands log records on, with all of their text."""

    def __init__(self, take: Any) -> None:
        super().__init__()
        self._take = take

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{self.format(record)} {vars(record)}"
        except Exception:  # noqa: BLE001 - as all handlers: a bad record must not end the request
            self.handleError(record)
        else:
            self._take(record, text)
