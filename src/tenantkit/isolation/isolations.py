"""The isolations of a deployment: which of its tenants can be served, and by which of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tenantkit.databases.base import Databases, problem_to_reach, split_key
from tenantkit.exceptions import ConfigurationError, TenantUnavailableError
from tenantkit.isolation.base import Isolation
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.status import Status
from tenantkit.tenant import NewTenant, Placement, Tenant


class Isolations:
    """Finds the isolation of each tenant."""

    def __init__(
        self,
        databases: Databases,
        *isolations: Isolation,
        default: str | None = None,
        row_column: RowColumn | None = None,
    ) -> None:
        """Take the *isolations* of a deployment; new tenants get the *default*, or else the first one."""
        self.row_column = RowColumn(None, tuple) if row_column is None else row_column
        self._databases = databases
        self._default = isolations[0].name if default is None else default
        self._by_name = {isolation.name: isolation for isolation in isolations}

    def of(self, tenant: Tenant) -> Isolation:
        """Return the isolation that keeps *tenant* apart.

        :raises TenantUnavailableError: if a newer version of tenantkit has placed the tenant where this one does not
            reach it, or set its status.
        """
        if (problem := self.problem(tenant)) is not None:
            raise TenantUnavailableError(tenant.key, tenant.status, problem)
        return self._by_name[tenant.isolation]

    def problem(self, tenant: Tenant) -> str | None:
        """Return why this tenancy can neither serve nor change *tenant*; ``None`` if it can."""
        database = tenant.placement.database
        if (isolation := self._by_name.get(tenant.isolation)) is None:
            unknown = f"isolation {str(tenant.isolation)!r}"
        elif (problem := problem_to_reach(self._databases, database)) is not None:
            return problem
        elif (split_key(database)[1] is None) != (isolation.databases is None):
            return (
                f"its isolation {isolation.name!r} does not go with its database {database!r} in the registry: if a "
                "newer version of tenantkit has set it, update tenantkit"
            )
        elif type(tenant.status) is not Status:
            unknown = f"status {str(tenant.status)!r}"
        else:
            return None
        return f"this version of tenantkit does not know its {unknown}, which a newer one has set: update tenantkit"

    def for_new(self, tenant: NewTenant) -> Isolation:
        """Return the isolation that a new tenant gets.

        :raises ConfigurationError: if there is none of the name that is asked for.
        """
        name = self._default if tenant.isolation is None else tenant.isolation
        if (found := self._by_name.get(name)) is None:
            raise ConfigurationError(f"There is no isolation {name!r}. Choose one of: {', '.join(self._by_name)}.")
        return found

    def column(self, *, of_any: bool = False) -> TenantColumn | None:
        """Return the tenant column, if new tenants share tables by default, or the models declare it; or *of_any*."""
        is_shared = self._by_name[self._default].shares_tables or self.row_column.name is not None
        return self.row_column() if of_any or is_shared else None

    def fits(self, tenant: Tenant, *, isolation: str | None, database: str | None) -> bool:
        """Tell whether *tenant* has the *isolation* and is on the server of *database*; ``None`` stands for any."""
        return isolation in {None, tenant.isolation} and database in {None, split_key(tenant.placement.database)[0]}

    def targets(self, tenants: Iterable[Tenant]) -> dict[Placement, MigrationTarget]:
        """Return where the tables of *tenants* are migrated, by placement; of tenants that can be reached."""
        reached: dict[str, list[Tenant]] = {}
        for tenant in tenants:
            if self.problem(tenant) is None:
                reached.setdefault(tenant.isolation, []).append(tenant)
        return {
            target.placement: target for name, alike in reached.items() for target in self._by_name[name].targets(alike)
        }

    def __iter__(self) -> Iterator[Isolation]:
        return iter(self._by_name.values())
