"""The commands that register existing schemas as tenants, and that end such a registration."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tenantkit import adoption
from tenantkit.adoption import AdoptedSchema, Adoption
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm_by_typing
from tenantkit.cli.display.errors import print_error
from tenantkit.cli.display.output import err, print_done, print_json, print_table, tenant_as_json
from tenantkit.cli.options.common import Json, Key, Yes
from tenantkit.tenant import MAIN_DATABASE


def adopt(
    context: typer.Context,
    *,
    schemas: Annotated[
        str,
        typer.Option(
            "--schemas",
            metavar="PATTERN",
            help="The schemas, with `%` for any text. Other characters stand for themselves.",
            show_default=False,
        ),
    ],
    key_from: Annotated[
        str | None,
        typer.Option(
            "--key-from",
            metavar="REGEX",
            help="What of a name is the key: the group `key`, the first group, or the match. By default, what `%` "
            "stands for.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        str, typer.Option("--database", metavar="NAME", help="The database that they are in.")
    ] = MAIN_DATABASE,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            metavar="REVISION",
            help="The revision of schemas without a version table; by default the newest, which they must equal.",
            show_default=False,
        ),
    ] = None,
    allow_differences: Annotated[
        bool,
        typer.Option("--allow-differences", metavar="", help="Adopt also schemas whose tables differ in details."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Show the tenants and the obstacles, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Register the schemas of an existing application as tenants. Their tables stay as they are.

    Each schema is compared with the models, or with what the revisions up to its own build, and with the others. Its
    version table is kept, or made; a comment marks it as the tenant's. If there is an obstacle, none is adopted, and
    the exit code is 1. `tenantkit release` takes it back.

    **Examples**

    - `tenantkit adopt --schemas 'dispatch_organization_%' --dry-run`
    - `tenantkit adopt --schemas 'org_%' --key-from '^org_\d+_(.+)$'`
    """
    with application(context) as tenancy:
        plan = adoption.adopt(
            tenancy,
            schemas,
            key_from=key_from,
            database=database,
            revision=revision,
            allow_differences=allow_differences,
            dry_run=dry_run,
        )
    if as_json:
        print_json(_as_json(plan))
    else:
        _print(plan, dry_run=dry_run)
    for obstacle in plan.obstacles:
        print_error(obstacle)
    if plan.obstacles:
        raise typer.Exit(1)


def release(context: typer.Context, key: Key, *, yes: Yes = False, as_json: Json = False) -> None:
    """Remove a tenant from the registry, and keep its schema with all of its data. Asks for the key.

    For a schema that another application goes on with. The version table that `adopt` has made is removed, too, unless
    the schema was migrated since.

    **Example**

    - `tenantkit release acme`
    """
    with application(context) as tenancy:
        if not yes:
            confirm_by_typing(
                key, f"The tenant {key!r} will not be served any more. Its schema stays.\nType {key!r} to continue"
            )
        tenant = adoption.release(tenancy, key)
    if as_json:
        print_json(tenant_as_json(tenant))
    else:
        print_done("Released", f"{tenant.key} (schema {tenant.schema})")


def _print(plan: Adoption, *, dry_run: bool) -> None:
    if plan.schemas:
        print_table(("Schema", "Key", "Revision", "Tables"), map(_row, plan.schemas))
        err.print(f"Shared tables: {', '.join(plan.shared_tables) or 'none'}.", soft_wrap=True)
        err.print(f"Tables of each tenant: {', '.join(plan.tenant_tables)}.", soft_wrap=True)
    else:
        err.print("There are no such schemas, or all of them are tenants' already.")
    if not dry_run and plan.schemas:
        print_done("Adopted", f"{len(plan.schemas)} schemas.")


def _row(each: AdoptedSchema) -> tuple[str, ...]:
    revision = f"{each.revision or '-'}{' (to be recorded)' if each.is_stamped else ''}"
    count = len(each.differences)
    return each.schema, each.key or "-", revision, f"{count} differences" if count else "as declared"


def _as_json(plan: Adoption) -> dict[str, Any]:
    return {
        "database": plan.database,
        "schemas": [
            {
                "schema": each.schema,
                "key": each.key,
                "revision": each.revision,
                "is_stamped": each.is_stamped,
                "differences": [str(difference) for difference in each.differences],
                "obstacles": each.obstacles,
            }
            for each in plan.schemas
        ],
        "before": plan.before,
        "alike": plan.alike,
        "shared_tables": plan.shared_tables,
        "tenant_tables": plan.tenant_tables,
        "missing": plan.missing,
    }
