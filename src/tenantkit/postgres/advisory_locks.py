"""Keys of the advisory locks that tenantkit takes, as arguments of PostgreSQL's functions.

One module has all of them, so that no two are equal. Those of tenants and runs have the parameters ``:id`` and
``:run``.
"""

from __future__ import annotations

INSTALLATION = "7265501839001"
"""Held while the registry's tables are created or upgraded."""
TENANT = "hashtext('tenantkit provisioning'), (:id % 2147483647)::int"
"""Held while a tenant is created in several transactions."""
CHOICE = "7265501839002"
"""Held from the choice of a new tenant's database until the tenant is entered there, so that no database overflows."""
TEMPLATE = "7265501839003"
"""Held while a template for the databases of tenants is made."""
SPARES = "7265501839004"
"""Held while spares are made, checked and removed."""
PLACEMENT = "hashtext('tenantkit migration'), hashtext({schema})"
"""Held by a run while it migrates a schema."""
RUN = "hashtext('tenantkit run'), (:run % 2147483647)::int"
"""Held by a run that keeps tenants in maintenance, for as long as its process lives."""
PLAN = "hashtext('tenantkit plan'), mod({run}, 2147483647)::int"
"""Held by a run that has planned to migrate spares, for as long as its process lives."""
