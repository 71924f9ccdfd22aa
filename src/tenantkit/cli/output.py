"""Where output goes and what it looks like: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantkit.tenant import Status, Tenant

out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)

_STATUS_STYLES = {Status.ACTIVE: "green", Status.FAILED: "red", Status.DROPPING: "red"}
_UNLIMITED = 10_000


def one_line(text: str | Text) -> Text:
    """Return *text* so that it is cut off where a line of the terminal ends."""
    found = Text(text) if isinstance(text, str) else text
    found.no_wrap, found.overflow = True, "ellipsis"
    return found


def print_json(data: object) -> None:
    """Print *data* as JSON."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def print_done(verb: str, rest: str) -> None:
    """Print that something was done, the *verb* in green."""
    out.print(Text.assemble((verb, "bold green"), " ", rest), soft_wrap=True)


def print_table(headers: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """Print a table; at a terminal, long values are wrapped, elsewhere a row is a line."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, header in enumerate(headers):
        table.add_column(header, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = out if out.is_terminal else Console(width=_UNLIMITED, highlight=False, markup=False)
    console.print(table)


def print_tenant(tenant: Tenant) -> None:
    """Print all that is known of a tenant."""
    rows: list[tuple[str, str | Text]] = [
        ("key", tenant.key),
        ("name", tenant.name),
        ("status", status_text(tenant.status)),
        ("schema", tenant.schema),
        ("domains", ", ".join(tenant.domains) or "-"),
        ("attributes", json.dumps(dict(tenant.attributes), ensure_ascii=False) if tenant.attributes else "-"),
        ("created", f"{tenant.created_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("updated", f"{tenant.updated_at:%Y-%m-%d %H:%M:%S %Z}"),
    ]
    for name, value in rows:
        out.print(Text.assemble((f"{name:<12}", "dim"), value), soft_wrap=True)


def status_text(status: Status | str) -> Text:
    """Return a tenant's status in its colour."""
    return Text(str(status), style=_STATUS_STYLES.get(Status(status), "yellow"))


def tenant_as_json(tenant: Tenant) -> dict[str, Any]:
    """Return a tenant as JSON has it."""
    return {
        "id": tenant.id,
        "key": tenant.key,
        "name": tenant.name,
        "status": tenant.status,
        "isolation": tenant.isolation,
        "database": tenant.placement.database,
        "schema": tenant.schema,
        "domains": list(tenant.domains),
        "attributes": dict(tenant.attributes),
        "created_at": tenant.created_at.isoformat(),
        "updated_at": tenant.updated_at.isoformat(),
    }
