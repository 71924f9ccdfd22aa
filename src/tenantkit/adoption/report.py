"""Results of an adoption: values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenantkit.drift.compare import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedSchema:
    """A schema that becomes a tenant's."""

    schema: str
    key: str | None
    """The tenant's key; ``None`` if the name of the schema gives none."""
    revision: str | None
    """The revision that its tables are at; ``None`` without migrations."""
    is_stamped: bool
    """Whether that is recorded now, because it had no version table."""
    differences: tuple[Difference, ...]
    """Its differences from the models, or from what the revisions up to its own build."""
    obstacles: tuple[str, ...]
    """The reasons why it cannot be adopted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """The result of an adoption, or its plan."""

    database: str
    schemas: tuple[AdoptedSchema, ...]
    """In the order of their names."""
    before: tuple[str, ...]
    """Schemas of the pattern that tenants have already."""
    alike: tuple[tuple[str, ...], ...]
    """The schemas, divided into groups of equal shape; the largest first."""
    shared_tables: tuple[str, ...]
    """The tables that all tenants share, with their schemas."""
    tenant_tables: tuple[str, ...]
    """The tables that each tenant has."""
    missing: tuple[str, ...]
    """Shared tables that do not exist."""

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Descriptions of all obstacles."""
        return tuple(self._describe())

    def _describe(self) -> Iterator[str]:
        if self.missing:
            yield f"shared tables are missing: {', '.join(self.missing)}"
        for each in self.schemas:
            for obstacle in each.obstacles:
                yield f"{each.schema}: {obstacle}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAdoption:
    """The result of an adoption of tables, or its plan."""

    key: str
    """The tenant's key."""
    source: str
    """The schema that the tables were in."""
    schema: str
    """The tenant's schema, which they are moved to."""
    revision: str | None
    """The revision that its tables are at; ``None`` without migrations."""
    is_stamped: bool
    """Whether that is recorded now; if not, the version table has moved with the tables."""
    moved: tuple[str, ...]
    """Descriptions of the objects that are moved."""
    to_shared: tuple[str, ...]
    """The shared tables that are moved to the schema that the models say, with that schema."""
    staying: tuple[str, ...]
    """Descriptions of the objects that stay."""
    differences: tuple[Difference, ...]
    """The differences from the models, or from what the revisions up to its own build."""
    obstacles: tuple[str, ...]
    """The reasons why the tables cannot be adopted."""
