"""Where revisions are applied."""

from __future__ import annotations

from dataclasses import dataclass

from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import search_path
from tenantkit.tenant import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationTarget:
    """A placement to which one of the two graphs of revisions is applied."""

    placement: Placement
    """Its schema has the version table, and is where names without a schema lead."""
    others: tuple[str, ...] = ()
    """Where else textual SQL may look for names."""
    placeholder: str | None = None
    """The schema that revisions write for that of the placement."""
    translates: bool = True
    """Whether there is a placeholder at all: not for shared tables."""
    column: TenantColumn | None = None
    """The column that divides the tables among tenants, if the schema is not one tenant's alone."""
    is_visible: bool = True
    """Whether names without a schema lead there. Autogenerate wants every name read with its schema."""
    in_transaction: bool = False
    """Whether all statements run in the caller's transaction, on a placement that is not in use yet."""

    @property
    def schema(self) -> str:
        """The real name of the schema."""
        return self.placement.schema

    @property
    def search_path(self) -> str:
        """Where names without a schema lead."""
        return self.path if self.is_visible else "pg_temp"

    @property
    def path(self) -> str:
        """The path of revisions, also where `search_path` hides it from autogenerate."""
        return search_path(self.schema, *self.others)

    def owns(self, schema: str | None) -> bool:
        """Return whether revisions of this graph create the types that they declare with *schema*.

        In the tenants' revisions, a type with a real schema is the shared side's.
        """
        return not self.translates or schema in {None, self.placeholder}

    def real(self, schema: str | None, own: str) -> str:
        """Return what *schema* means in a revision, where *own* is the schema of the target."""
        return own if schema is None or (self.translates and schema == self.placeholder) else schema
