"""Commands for a tenant's domains."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.options import Json, Key
from tenantkit.cli.output import print_done, print_json, tenant_as_json
from tenantkit.tenant import Tenant

Domain = Annotated[
    str, typer.Argument(metavar="DOMAIN", help="A host name such as acme.example.com.", show_default=False)
]


def add(
    context: typer.Context,
    key: Key,
    domain: Domain,
    *,
    primary: Annotated[bool, typer.Option("--primary", metavar="", help="Make it the primary one.")] = False,
    as_json: Json = False,
) -> None:
    """Give a tenant another domain. Its first one is its primary one.

    **Example**

    - `tenantkit domain add acme shop.acme.example --primary`
    """
    with application(context) as tenancy:
        tenant = tenancy.add_domain(key, domain, primary=primary)
    _print(tenant, "Added", as_json=as_json)


def remove(context: typer.Context, key: Key, domain: Domain, *, as_json: Json = False) -> None:
    """Take a domain from a tenant. If it was the primary one, the first of the others becomes it.

    **Example**

    - `tenantkit domain remove acme shop.acme.example`
    """
    with application(context) as tenancy:
        tenant = tenancy.remove_domain(key, domain)
    _print(tenant, "Removed", as_json=as_json)


def primary(context: typer.Context, key: Key, domain: Domain, *, as_json: Json = False) -> None:
    """Make one of a tenant's domains the primary one, which links use.

    **Example**

    - `tenantkit domain primary acme shop.acme.example`
    """
    with application(context) as tenancy:
        tenant = tenancy.set_primary_domain(key, domain)
    _print(tenant, "Changed", as_json=as_json)


def _print(tenant: Tenant, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json(tenant_as_json(tenant))
    else:
        print_done(verb, f"{tenant.key}: {', '.join(tenant.domains) or 'no domains'}")
