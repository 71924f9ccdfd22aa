"""The command that clones a tenant, by `tenantkit.transfer.clone`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from tenantkit import transfer
from tenantkit.cli.application import application, load_object
from tenantkit.cli.display.copying import table_progress
from tenantkit.cli.display.output import print_done, print_field, print_json, tenant_as_json
from tenantkit.cli.options.common import Attributes, Json, Key, parse_attributes
from tenantkit.exceptions import ConfigurationError
from tenantkit.tenant import Isolation


def clone(
    context: typer.Context,
    key: Key,
    *,
    as_: Annotated[str, typer.Option("--as", metavar="KEY", help="The key of the new tenant.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="Its display name, by default that of KEY.", show_default=False)
    ] = None,
    attribute: Attributes = None,
    isolation: Annotated[
        Isolation | None, typer.Option("--isolation", help="By default that of KEY.", show_default=False)
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", help="By default that of KEY.", show_default=False),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            "--transform",
            metavar="MODULE:NAME",
            help="A tenantkit.transfer.Transform, or a function that returns one: it changes rows, or leaves them out.",
            show_default=False,
        ),
    ] = None,
    suspended: Annotated[bool, typer.Option("--suspended", metavar="", help="Leave the new tenant suspended.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Show what would be done, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create a tenant with the rows of another one, changed on request, for staging or a demo.

    The rows are those of one snapshot. The other tenant is served meanwhile, and keeps its domains. After a clone that
    failed or was killed, the same command makes it. With `--attribute`, the new tenant has these attributes only.

    **Examples**

    - `tenantkit clone acme --as acme-staging`
    - `tenantkit clone acme --as demo --name "A demo" --transform app.demo:ANONYMOUS`
    - `tenantkit clone acme --as acme-staging --database eu --dry-run`
    """
    chosen: dict[str, Any] = {
        "as_": as_,
        "name": name,
        "attributes": None if attribute is None else parse_attributes(attribute),
        "isolation": isolation,
        "database": database,
    }
    with application(context) as tenancy:
        chosen["transform"] = None if transform is None else _load(transform)
        if dry_run:
            _print_plan(transfer.preview_clone(tenancy, key, **chosen), as_json=as_json)
            return
        with table_progress("Cloning") as progress:
            cloned = transfer.clone(tenancy, key, suspended=suspended, progress=progress, **chosen)
    if as_json:
        print_json({"tenant": tenant_as_json(cloned.tenant), "plan": asdict(cloned.plan), "rows": dict(cloned.rows)})
        return
    tenant, rows = cloned.tenant, sum(cloned.rows.values())
    print_done("Cloned", f"{key} as {tenant.key} (schema {tenant.schema}, rows: {rows:,}, {tenant.status})")


def _load(reference: str) -> transfer.Transform:
    found = load_object(reference)
    if not isinstance(found, transfer.Transform):
        raise ConfigurationError(
            f"{reference!r} is a {type(found).__name__}, not a tenantkit.transfer.Transform. Name one, or a function "
            "without parameters that returns one."
        )
    return found


def _print_plan(plan: transfer.ClonePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(plan))
        return
    print_field("key", f"{plan.key}, a clone of {plan.source}")
    print_field("name", plan.name)
    print_field("isolation", plan.isolation)
    print_field("database", plan.database or "as placement= chooses")
    print_field("revision", f"{plan.from_revision or 'none'} -> {plan.to_revision or 'none'}")
    print_field("rows", f"{sum(plan.rows.values()):,} (tables: {len(plan.rows):,})")
    print_field("changed", ", ".join(plan.transformed) or "nothing")
