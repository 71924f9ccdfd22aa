"""`tenantkit migrate` for an application without migrations: the registry, and the shared tables from the models."""

from __future__ import annotations

from tenantkit.cli.display.output import err, print_done, print_json
from tenantkit.lifecycle.builders import make_shared_tables
from tenantkit.tenancy import Tenancy


def install(tenancy: Tenancy, *, as_json: bool) -> None:
    """Create the registry and the missing shared tables, and report it."""
    tenancy.install()
    with tenancy.engine.begin() as connection:
        made = make_shared_tables(connection, tenancy)
    if as_json:
        print_json({"created": made})
        return
    print_done("Registry:", "up to date.")
    if tenancy.tables.shared:
        print_done("Shared tables:", f"created {', '.join(made)}." if made else "unchanged.")
    err.print(
        "This tenancy has no migrations: a new tenant gets its tables from the models, and existing tables do not "
        "change with the models. 'tenantkit init' creates a migration environment.",
        soft_wrap=True,
    )
