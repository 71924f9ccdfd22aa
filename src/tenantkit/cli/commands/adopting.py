"""The commands that register existing schemas as tenants, and that end such a registration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tenantkit import adoption
from tenantkit.adoption import AdoptedSchema, Adoption, TableAdoption
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm_by_typing
from tenantkit.cli.display.errors import UsageError, print_error
from tenantkit.cli.display.output import err, print_done, print_json, print_table, tenant_as_json
from tenantkit.cli.options.common import Json, Key, Yes, was_given
from tenantkit.tenant import MAIN_DATABASE


def adopt(
    context: typer.Context,
    *,
    schemas: Annotated[
        str | None,
        typer.Option(
            "--schemas",
            metavar="PATTERN",
            help="The schemas, with `%` for any text. Other characters stand for themselves.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="NAME",
            help="The schema of a single tenant, for example `public`, whose tables move to a new one.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--as", metavar="KEY", help="With `--schema`: the key of that tenant.", show_default=False),
    ] = None,
    leave_others: Annotated[
        bool,
        typer.Option(
            "--leave-others",
            metavar="",
            help="With `--schema`: leave tables that the models do not have, and what only these need.",
        ),
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            "--patience", metavar="SECONDS", help="With `--schema`: the time to try to lock the tables.", min=0
        ),
    ] = 10,
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
    r"""Register the schemas of an existing application as tenants, or move the tables of its only one.

    Each schema is compared with the models, or with what the revisions up to its own build, and with the others. Its
    version table is kept, or made; a comment marks it as the tenant's. If there is an obstacle, none is adopted, and
    the exit code is 1. `tenantkit release` takes it back.

    With `--schema`, the tenant's tables move to a schema of their own, with all else there but shared tables, in one
    transaction. `--dry-run` rolls it back.

    **Examples**

    - `tenantkit adopt --schema public --as acme --dry-run`
    - `tenantkit adopt --schemas 'dispatch_organization_%' --dry-run`
    - `tenantkit adopt --schemas 'org_%' --key-from '^org_\d+_(.+)$'`
    """
    if (schemas is None) == (schema is None) or (schema is None) != (key is None):
        raise UsageError("Give either --schemas PATTERN, or --schema NAME with --as KEY.")
    if schema is not None and key is not None:
        _refuse(context, "--schema", ("key_from", "database"))
        with application(context) as tenancy:
            moved = adoption.adopt_tables(
                tenancy,
                schema,
                key,
                revision=revision,
                leave_others=leave_others,
                allow_differences=allow_differences,
                patience=patience,
                dry_run=dry_run,
            )
        _show_move(moved, dry_run=dry_run, as_json=as_json)
        return
    assert schemas is not None  # noqa: S101 - else the schema is given
    _refuse(context, "--schemas", ("leave_others", "patience"))
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


def _refuse(context: typer.Context, option: str, names: Collection[str]) -> None:
    """Raise if one of the parameters *names* was given, which *option* excludes."""
    flags = {each.name: each.opts[0] for each in context.command.params}
    if given := [str(flags[name]) for name in names if was_given(context, name)]:
        raise UsageError(f"{option} does not go with {', '.join(given)}.")


def _show_move(plan: TableAdoption, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(plan), "differences": [str(each) for each in plan.differences]})
    else:
        for title, names in (
            (f"Move from {plan.source} to {plan.schema}", plan.moved),
            ("Move to their schema", plan.to_shared),
            (f"Stay in {plan.source}", plan.staying),
        ):
            err.print(f"{title}: {', '.join(names) or 'nothing'}.", soft_wrap=True)
        revision = f" at {plan.revision}{' (to be recorded)' if plan.is_stamped else ''}" if plan.revision else ""
        err.print(f"Tables: {len(plan.differences) or 'no'} differences{revision}.", soft_wrap=True)
        if not dry_run:
            print_done("Adopted", f"{plan.key} (schema {plan.schema})")
    for obstacle in plan.obstacles:
        print_error(obstacle)
    if plan.obstacles:
        raise typer.Exit(1)


def release(
    context: typer.Context,
    key: Key,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="SCHEMA",
            help="Move all that is in its schema there, as before `adopt --schema`.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", help="With `--to`: the time to try to lock.", min=0)
    ] = 10,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a tenant from the registry, and keep its schema with all of its data. Asks for the key.

    For a schema that another application goes on with. The version table that `adopt` has made is removed, too, unless
    the schema was migrated since.

    **Examples**

    - `tenantkit release acme`
    - `tenantkit release acme --to public`
    """
    with application(context) as tenancy:
        if not yes:
            rest = "Its schema stays." if to is None else f"All that is in its schema moves to {to!r}."
            confirm_by_typing(key, f"The tenant {key!r} will not be served any more. {rest}\nType {key!r} to continue")
        tenant = adoption.release(tenancy, key, to=to, patience=patience)
    if as_json:
        print_json(tenant_as_json(tenant))
    else:
        print_done("Released", f"{tenant.key} (schema {tenant.schema if to is None else to})")


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
