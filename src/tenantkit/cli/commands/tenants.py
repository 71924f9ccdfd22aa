"""Commands for single tenants. Each calls a method of `tenantkit.Tenancy`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from tenantkit.cli.application import application
from tenantkit.cli.display.errors import UsageError, print_error
from tenantkit.cli.display.output import (
    err,
    print_done,
    print_json,
    print_table,
    status_text,
    tenant_as_json,
)
from tenantkit.cli.options.common import Attributes, Json, Key, parse_attributes
from tenantkit.status import Status
from tenantkit.tenant import Isolation, Tenant

Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The display name.", show_default=False)]

RowValue = Annotated[
    str | None,
    typer.Option(
        "--row-value", metavar="VALUE", help="Its value of the column that `row_column=` names.", show_default=False
    ),
]

_STATUS_HELP = f"Only tenants with this status: {', '.join(Status)}. Repeat for more."


def create(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The new tenant's key.", show_default=False)],
    *,
    name: Name = None,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", metavar="HOST", help="A domain. Repeat for more; the first is the primary one."),
    ] = None,
    attribute: Attributes = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="NAME",
            help="The database to create it in, in place of the one that `placement=` chooses.",
            show_default=False,
        ),
    ] = None,
    isolation: Annotated[
        Isolation | None,
        typer.Option(
            "--isolation", help="A schema or a database of its own, or rows in common tables.", show_default=False
        ),
    ] = None,
    row_value: RowValue = None,
    as_json: Json = False,
) -> None:
    """Create a tenant, with its schema and tables at the newest revision.

    After a creation that failed or was killed, the same command creates the tenant.

    **Examples**

    - `tenantkit create acme`
    - `tenantkit create acme --name "Acme Inc." --domain acme.example.com --attribute plan=pro`
    - `tenantkit create acme --database eu`
    - `tenantkit create acme --isolation database`
    """
    attributes = parse_attributes(attribute)
    with application(context) as tenancy:
        try:
            tenant = tenancy.create(
                key,
                name=name,
                domains=domain or (),
                attributes=attributes,
                database=database,
                isolation=isolation,
                row_value=row_value,
            )
        except KeyboardInterrupt:
            print_error(f"Interrupted. Run the same command again to create {key!r} from the beginning.")
            raise
    _print(tenant, "Created", as_json=as_json)


def list_(
    context: typer.Context,
    *,
    status: Annotated[
        list[Status] | None, typer.Option("--status", metavar="STATUS", help=_STATUS_HELP, show_default=False)
    ] = None,
    attribute: Attributes = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", "-s", metavar="TEXT", help="Only if key, name or domain has this.", show_default=False
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="KEY", help="Only keys after this one.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help="The maximum number of tenants.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """List tenants, in the order of their keys.

    **Examples**

    - `tenantkit list --status suspended`
    - `tenantkit list --attribute plan=pro --limit 50 --after initech`
    - `tenantkit list --json | jq -r '.[].key'`
    """
    with application(context) as tenancy:
        tenants = tenancy.list(
            status=status or None, attributes=parse_attributes(attribute), search=search, after=after, limit=limit
        )
    if as_json:
        print_json([tenant_as_json(tenant) for tenant in tenants])
    elif tenants:
        said = any(tenant.message or tenant.until for tenant in tenants)
        headers = ("Key", "Name", "Status", *(("Until", "Message") if said else ()), "Schema", "Domains")
        print_table(headers, (_row(tenant, said=said) for tenant in tenants))
    else:
        filtered = status or attribute or search or after
        err.print("There are no such tenants." if filtered else "There are no tenants yet.")


def update(
    context: typer.Context,
    key: Key,
    *,
    name: Name = None,
    attribute: Attributes = None,
    row_value: RowValue = None,
    as_json: Json = False,
) -> None:
    """Change a tenant's display name or attributes. Other attributes stay; the value `null` removes one.

    The value of the column that `row_column=` names can be set once, for a tenant that was created without it.

    **Examples**

    - `tenantkit update acme --name "Acme Corporation"`
    - `tenantkit update acme --attribute seats=25 --attribute trial=null`
    """
    attributes = parse_attributes(attribute)
    if name is None and not attributes and row_value is None:
        raise UsageError("There is nothing to change. Give --name or --attribute.")
    with application(context) as tenancy:
        if row_value is not None:
            tenancy.set_row_value(key, row_value)
        tenant = tenancy.update(key, name=name, attributes=attributes)
    _print(tenant, "Updated", as_json=as_json)


def _print(tenant: Tenant, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json(tenant_as_json(tenant))
    else:
        print_done(verb, f"{tenant.key} (schema {tenant.schema})")


def _row(tenant: Tenant, *, said: bool) -> tuple[str | Text, ...]:
    domains = tenant.primary_domain or "-"
    more = f" +{len(tenant.domains) - 1}" if len(tenant.domains) > 1 else ""
    status = status_text(tenant.status)
    if tenant.drop_at is not None:
        status.append(f" {tenant.drop_at:%Y-%m-%d}")
    notice = (f"{tenant.until:%Y-%m-%d %H:%M %Z}" if tenant.until else "-", tenant.message or "-") if said else ()
    return tenant.key, tenant.name, status, *notice, tenant.schema, domains + more
