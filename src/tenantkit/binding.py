"""What a session needs to serve one tenant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tenantkit.naming import search_path

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant

RawSQL = Literal["lazy", "always", "forbid"]
"""What a tenant session does about textual SQL, whose names no map translates.

``lazy`` sets a transaction-local ``search_path`` before the first textual
statement of a transaction, ``always`` does so when the transaction begins, and
``forbid`` raises `RawSQLForbiddenError`.
"""


@dataclass(frozen=True, slots=True)
class Binding:
    """One tenant's place in the database, as SQLAlchemy execution options say it."""

    tenant: Tenant
    raw_sql: RawSQL
    extra_schemas: Sequence[str]
    execution_options: dict[str, Any]
    """For `Session`: made for this binding alone, because SQLAlchemy changes a map that holds None."""

    @property
    def search_path(self) -> str:
        """Where textual SQL looks names up."""
        return search_path(self.tenant.schema, *self.extra_schemas)


def bind(tenant: Tenant, *, placeholder: str | None, raw_sql: RawSQL, extra_schemas: Sequence[str] = ()) -> Binding:
    """Return the binding of *tenant*, whose tables are declared with *placeholder*."""
    binding = Binding(tenant, raw_sql, extra_schemas, {})
    binding.execution_options.update(schema_translate_map={placeholder: tenant.schema}, tenantkit_binding=binding)
    return binding
