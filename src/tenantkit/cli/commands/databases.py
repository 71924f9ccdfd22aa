"""The command that lists the databases."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.display.errors import without_passwords
from tenantkit.cli.display.output import print_json, print_table
from tenantkit.cli.options.common import Json
from tenantkit.migrations import DatabaseStatus

_MEGABYTE = 1_000_000


def databases(context: typer.Context, *, as_json: Json = False) -> None:
    """List the databases of the application: their tenants, their size, the revisions, and whether they answer.

    The exit code is 1 if one does not.

    **Examples**

    - `tenantkit databases`
    - `tenantkit databases --json | jq -r '.[] | select(.error) | .name'`
    """
    with application(context) as tenancy:
        found = migrations.databases(tenancy)
    if as_json:
        print_json([{**asdict(each), "revisions": _revisions_as_json(each)} for each in found])
    else:
        print_table(("Database", "Tenants", "Size", "Revisions", "State"), map(_row, found))
    if any(each.error is not None for each in found):
        raise typer.Exit(1)


def _revisions_as_json(database: DatabaseStatus) -> list[dict[str, object]]:
    return [{"revision": revision, "tenants": count} for revision, count in database.revisions.items()]


def _row(database: DatabaseStatus) -> tuple[str, ...]:
    revisions = ", ".join(f"{count} at {revision or 'none'}" for revision, count in database.revisions.items())
    size = "-" if database.size is None else f"{database.size / _MEGABYTE:.1f} MB"
    state = "reachable" if database.error is None else without_passwords(database.error)
    return database.name, str(database.tenants), size, revisions or "-", state
