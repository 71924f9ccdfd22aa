"""What a session needs to serve one tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tenantkit.exceptions import TenantMismatchError
from tenantkit.postgres.quoting import search_path

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant

RawSQL = Literal["allow", "forbid"]
"""Whether tenant sessions execute textual SQL, whose names no map translates.

``allow`` does: PostgreSQL looks its names up along the tenant's ``search_path``. ``forbid`` raises
`RawSQLForbiddenError`.
"""


@dataclass(frozen=True, slots=True)
class Binding:
    """One tenant's place in the database, as SQLAlchemy execution options and as a setting of transactions."""

    tenant: Tenant
    placeholder: str | None
    raw_sql: RawSQL
    search_path: str
    """Where the tenant's transactions look up names that no schema qualifies."""
    execution_options: dict[str, Any]
    """For `Session`: made for this binding alone, because SQLAlchemy changes a map that holds None."""

    verify: Callable[[], object] | None = None
    """Raises if the tenant cannot be served; to be called before the first statement, where it was not known before."""

    @property
    def set_path(self) -> str:
        """The statement that sets the path. It takes no snapshot, so SET TRANSACTION may follow."""
        return f"SET LOCAL search_path TO {self.search_path}"

    def require_own_map(self, options: Mapping[str, Any]) -> None:
        """Raise if execution *options* of the caller's lead to another schema than the tenant's.

        :raises TenantMismatchError: if they do.
        """
        given = options.get("schema_translate_map")
        if given is None or given is self.execution_options["schema_translate_map"]:
            return
        if given.get(self.placeholder, self.tenant.schema) != self.tenant.schema:
            raise TenantMismatchError(self.tenant.key, None, schema=given[self.placeholder] or "none")


def bind(tenant: Tenant, *, placeholder: str | None, raw_sql: RawSQL, extra_schemas: Sequence[str] = ()) -> Binding:
    """Return the binding of *tenant*, whose tables are declared with *placeholder*."""
    binding = Binding(tenant, placeholder, raw_sql, search_path(tenant.schema, *extra_schemas), {})
    binding.execution_options.update(schema_translate_map={placeholder: tenant.schema}, tenantkit_binding=binding)
    return binding
