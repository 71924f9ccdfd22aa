"""The command that gives a tenant another key."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.display.errors import print_error
from tenantkit.cli.display.output import err, out, print_done, print_json, tenant_as_json
from tenantkit.cli.options.common import DryRunOfOne, Json, Key
from tenantkit.lifecycle import Renaming
from tenantkit.lifecycle import rename as rename_tenant


def rename(
    context: typer.Context,
    key: Key,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new key.", show_default=False)],
    *,
    schema: Annotated[bool, typer.Option("--schema", metavar="", help="Rename the schema, too.")] = False,
    dry_run: DryRunOfOne = False,
    as_json: Json = False,
) -> None:
    """Give a tenant another key while it is served. Its schema keeps its name, unless `--schema` is given.

    Domains, logins and sessions stay. The former key finds no tenant; a new tenant with it gets a schema of another
    name. With `--schema`, transactions of the tenant that go on with the former name fail. The exit code of `--dry-run`
    is 1 if there are obstacles. After an interruption, the same command goes on.

    **Examples**

    - `tenantkit rename acme acme-inc`
    - `tenantkit rename acme acme-inc --schema --dry-run`
    """
    with application(context) as tenancy:
        renaming = rename_tenant(tenancy, key, new, schema=schema, dry_run=dry_run)
    if as_json:
        print_json(_as_json(renaming))
    elif dry_run:
        for step in renaming.steps:
            out.print(step, soft_wrap=True)
    else:
        print_done("Renamed", f"{renaming.key} (schema {renaming.schema}), which was {key}")
    for text in renaming.outdated:
        err.print(f"T{text[1:]} names the former schema; it was left as it is.", soft_wrap=True)
    for obstacle in renaming.obstacles:
        print_error(obstacle)
    if renaming.obstacles:
        raise typer.Exit(1)


def _as_json(renaming: Renaming) -> dict[str, object]:
    return {
        "tenant": tenant_as_json(renaming.tenant),
        "key": renaming.key,
        "schema": renaming.schema,
        "steps": renaming.steps,
        "obstacles": renaming.obstacles,
        "outdated": renaming.outdated,
    }
