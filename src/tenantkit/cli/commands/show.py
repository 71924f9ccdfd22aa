"""The command that shows one tenant: its data, table by table, and its history."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy import Row

from tenantkit import usage
from tenantkit.cli.application import application
from tenantkit.cli.display.errors import in_one_line, without_passwords
from tenantkit.cli.display.output import out, print_field, print_json, print_table, print_tenant, tenant_as_json
from tenantkit.cli.options.common import Json, Key
from tenantkit.runs import ledger
from tenantkit.usage import HistoryEntry, TenantDescription
from tenantkit.user_code import describe_place

_SHOWN = 20
_UNITS = ("B", "kB", "MB", "GB", "TB")


def show(
    context: typer.Context,
    key: Key,
    *,
    count: Annotated[
        bool, typer.Option("--count", metavar="", help="Count the rows of each table, which reads all of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where a tenant's data is, table by table, with its revision, its last run and its history.

    The sizes are those on disk, with indexes and TOAST. Rows are the server's estimate, unless `--count` is given. Of a
    tenant with row isolation, they are its own rows, and a share of the bytes by them. Of a tenant that was dropped,
    its history is shown.

    **Examples**

    - `tenantkit show acme`
    - `tenantkit show acme --count --json`
    """
    with application(context) as tenancy:
        found = usage.describe(tenancy, key, count=count)
        with tenancy.engine.connect() as connection:
            last = None if found.tenant is None else ledger.last_outcome(connection, found.tenant.id)
    if as_json:
        print_json(_as_json(found, last))
        return
    if found.tenant is None:
        print_field("key", key)
        print_field("status", "no tenant has this key any more")
    else:
        print_tenant(found.tenant)
        print_field("revision", found.problem or found.revision or "none")
        print_field("last run", _describe_run(last) if last else "none")
        _print_tables(found)
    _print_history(found.history)


def _as_json(found: TenantDescription, last: Row[Any] | None) -> dict[str, Any]:
    registered = {"key": found.key, "status": None} if found.tenant is None else tenant_as_json(found.tenant)
    return {
        **registered,
        "revision": found.revision,
        "error": found.problem,
        "last_run": last and _run_as_json(last),
        "tables": [asdict(each) for each in found.tables],
        "rows": found.rows,
        "size": found.size,
        "is_exact": found.is_exact,
        "history": [asdict(each) for each in found.history],
    }


def _print_tables(found: TenantDescription) -> None:
    if not found.tables:
        return
    out.print()
    about = "" if found.is_exact else "~"
    sizes = [(each.name, f"{about}{each.rows:,}", _size(each.size)) for each in found.tables]
    print_table(("Table", "Rows", "Size"), [*sizes, ("all", f"{about}{found.rows:,}", _size(found.size))])


def _size(number: int | None) -> str:
    if number is None:
        return "unknown"
    size = float(number)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - as PostgreSQL's pg_size_pretty has it
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= 1024
    raise AssertionError


def _print_history(entries: tuple[HistoryEntry, ...]) -> None:
    if not entries:
        return
    out.print()
    several = len({each.tenant_id for each in entries}) > 1
    headers = ("Time", "Event", "Key", "By", "Details")
    print_table((*headers, "Id") if several else headers, [_entry(each, several=several) for each in entries[-_SHOWN:]])
    if len(entries) > _SHOWN:
        out.print(f"and {len(entries) - _SHOWN} before: --json has them all.", style="dim")


def _entry(entry: HistoryEntry, *, several: bool) -> tuple[str, ...]:
    details = ", ".join(
        f"{name} {each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}"
        for name, each in entry.details.items()
    )
    shown = f"{entry.at:%Y-%m-%d %H:%M:%S %Z}", entry.event, entry.key, entry.role, without_passwords(details)
    return (*shown, str(entry.tenant_id)) if several else shown


def _run_as_json(outcome: Row[Any]) -> dict[str, Any]:
    names = ("command", "target", "status", "from_revision", "to_revision", "finished_at", "sqlstate")
    places = ("revision", "file", "line")
    texts = {name: (text := getattr(outcome, name)) and without_passwords(text) for name in ("error", "traceback")}
    return {"run": outcome.run_id, **{name: getattr(outcome, name) for name in (*names, *places)}, **texts}


def _describe_run(outcome: Row[Any]) -> str:
    place = describe_place(outcome.revision, outcome.file, outcome.line)
    error = f": {in_one_line(outcome.error)}{f', in {place}' if place else ''}" if outcome.error else ""
    return (
        f"{outcome.run_id}, {outcome.command} to {outcome.target}: {outcome.status} at "
        f"{outcome.finished_at:%Y-%m-%d %H:%M:%S %Z}{error}"
    )
