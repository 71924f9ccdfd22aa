"""Commands for a tenant's domains."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit.cli.application import application
from tenantkit.cli.display.output import err, print_done, print_json, print_table, tenant_as_json
from tenantkit.cli.options.common import Json, Key, OptionalKey
from tenantkit.registry import store
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
    """Add a domain to a tenant. Its first domain is the primary one.

    **Example**

    - `tenantkit domain add acme shop.acme.example --primary`
    """
    with application(context) as tenancy:
        tenant = tenancy.add_domain(key, domain, primary=primary)
    _print(tenant, "Added", f"{domain} to {key}", as_json=as_json)


def remove(context: typer.Context, key: Key, domain: Domain, *, as_json: Json = False) -> None:
    """Remove a domain from a tenant. If it was the primary one, the first of the others becomes primary.

    **Example**

    - `tenantkit domain remove acme shop.acme.example`
    """
    with application(context) as tenancy:
        tenant = tenancy.remove_domain(key, domain)
    _print(tenant, "Removed", f"{domain} from {key}", as_json=as_json)


def primary(context: typer.Context, key: Key, domain: Domain, *, as_json: Json = False) -> None:
    """Make one of a tenant's domains the primary one, which links use.

    **Example**

    - `tenantkit domain primary acme shop.acme.example`
    """
    with application(context) as tenancy:
        tenant = tenancy.set_primary_domain(key, domain)
    _print(tenant, "Changed", f"the primary domain of {key} to {domain}", as_json=as_json)


def list_(context: typer.Context, key: OptionalKey = None, *, as_json: Json = False) -> None:
    """List the domains of a tenant, or of all tenants, with the primary one of each first.

    **Examples**

    - `tenantkit domain list acme`
    - `tenantkit domain list --json | jq -r '.[].domain'`
    """
    with application(context) as tenancy, tenancy.engine.connect() as connection:
        tenants = store.find(connection) if key is None else [store.get(connection, key)]
    rows = [(domain, tenant.key, number == 0) for tenant in tenants for number, domain in enumerate(tenant.domains)]
    if as_json:
        print_json([{"domain": domain, "tenant": owner, "primary": first} for domain, owner, first in rows])
    elif rows:
        print_table(
            ("Domain", "Tenant", "Primary"), [(domain, owner, "yes" if first else "-") for domain, owner, first in rows]
        )
    else:
        err.print("There are no domains yet." if key is None else f"Tenant {key!r} has no domains.")


def _print(tenant: Tenant, verb: str, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(tenant_as_json(tenant))
    else:
        print_done(verb, f"{done}. Its domains: {', '.join(tenant.domains) or 'none'}")
