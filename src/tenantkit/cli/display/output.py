"""Destination and format of output: data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from tenantkit.status import Status
from tenantkit.tenant import Tenant

_USUAL_WIDTH = 80


class _Console(Console):
    """A console of this command line: plain text, whatever the environment says about the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, **options)
        if self.width < 1:  # COLUMNS=0, for which Rich would print nothing
            self.width = _USUAL_WIDTH

    @override
    def on_broken_pipe(self) -> None:
        """Raise where data is lost. A message to a closed pipe does not end the command, as it would with Rich."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True
        discard(sys.stderr)


out = _Console()
err = _Console(stderr=True)

_STATUS_STYLES: dict[str, str] = {
    Status.ACTIVE: "green",
    Status.FAILED: "red",
    Status.DROPPING: "red",
    Status.DROP_SCHEDULED: "red",
}
_UNLIMITED = 10_000
_WRAPPED_FROM = 24
"""The length of a cell, in characters, up to which it stays on one line."""


def discard(stream: TextIO) -> None:
    """Discard what is written to *stream*, whose reader is gone; Python would report that again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def one_line(text: str | Text) -> Text:
    """Return *text* with settings that cut it at the width of the terminal."""
    found = Text(text) if isinstance(text, str) else text
    found.no_wrap, found.overflow = True, "ellipsis"
    return found


def printable(text: str) -> str:
    """Return *text* without what would move a terminal's cursor, begin a line or turn the direction of writing."""
    return "".join(each if each.isprintable() else " " for each in text)


def json_text(data: object, indent: int | None = None) -> str:
    """Return *data* as JSON; characters that the encoding of stdout may lack have JSON's own escapes."""
    return json.dumps(data, indent=indent, ensure_ascii=not out.encoding.startswith("utf"), default=_as_json)


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_json(data: object) -> None:
    """Print *data* as JSON."""
    typer.echo(json_text(data, indent=2))


def print_done(verb: str, rest: str) -> None:
    """Print a completed action, with the *verb* in green."""
    out.print(Text.assemble((verb, "bold green"), " ", rest), soft_wrap=True)


def print_table(headers: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """Print a table.

    At a terminal that is too narrow, long texts wrap between words. No word breaks, so that keys and domains can be
    copied: the line exceeds the terminal's width instead. Elsewhere a row is a line.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    body = [[printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    needed = 0
    for number, header in enumerate(headers):
        cells = [header, *(str(row[number]) for row in body)]
        longest = max(map(cell_len, cells))
        may_wrap = number > 0 and longest > _WRAPPED_FROM
        least = max(map(cell_len, " ".join(cells).split())) if may_wrap else longest
        table.add_column(header, no_wrap=not may_wrap, min_width=least)
        needed += least + 2
    for row in body:
        table.add_row(*row)
    width = max(out.width, needed) if out.is_terminal else _UNLIMITED
    _Console(width=width).print(table, crop=False)


def print_tenant(tenant: Tenant) -> None:
    """Print a tenant as the registry has it."""
    rows: list[tuple[str, str | Text]] = [
        ("key", tenant.key),
        ("name", tenant.name),
        ("status", status_text(tenant.status)),
        *([("drop at", f"{tenant.drop_at:%Y-%m-%d %H:%M:%S %Z}")] if tenant.drop_at else []),
        *(("message", text) for text in (tenant.message,) if text is not None),
        *(("until", f"{end:%Y-%m-%d %H:%M:%S %Z}") for end in (tenant.until,) if end is not None),
        ("isolation", tenant.isolation),
        ("database", tenant.placement.database),
        ("schema", tenant.schema),
        ("domains", ", ".join(tenant.domains) or "-"),
        ("attributes", json.dumps(dict(tenant.attributes), ensure_ascii=False) if tenant.attributes else "-"),
        ("created", f"{tenant.created_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("updated", f"{tenant.updated_at:%Y-%m-%d %H:%M:%S %Z}"),
    ]
    for name, value in rows:
        print_field(name, value)


def print_field(name: str, value: str | Text) -> None:
    """Print one property of a tenant."""
    out.print(
        Text.assemble((f"{name:<12}", "dim"), printable(value) if isinstance(value, str) else value), soft_wrap=True
    )


def status_text(status: str) -> Text:
    """Return a tenant's status in its colour."""
    return Text(str(status), style=_STATUS_STYLES.get(status, "yellow"))


def tenant_as_json(tenant: Tenant) -> dict[str, Any]:
    """Return a tenant as a JSON object."""
    return {
        "id": tenant.id,
        "key": tenant.key,
        "name": tenant.name,
        "status": tenant.status,
        "message": tenant.message,
        "until": tenant.until and tenant.until.isoformat(),
        "isolation": tenant.isolation,
        "database": tenant.placement.database,
        "schema": tenant.schema,
        "row_value": tenant.row_value,
        "domains": list(tenant.domains),
        "attributes": dict(tenant.attributes),
        "created_at": tenant.created_at.isoformat(),
        "updated_at": tenant.updated_at.isoformat(),
        "drop_at": tenant.drop_at and tenant.drop_at.isoformat(),
    }
