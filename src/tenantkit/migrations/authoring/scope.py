"""The objects that autogenerate compares: those of one side's schemas, except objects that no model declares."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, TextClause, text
from sqlalchemy.schema import SchemaItem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.isolation.target import MigrationTarget

# A partition has rows of its parent, and dropping it loses them.
_MADE_BY_OTHERS = text(
    """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas) AND relkind IN ('r', 'p', 'f') AND (
        EXISTS (SELECT FROM pg_inherits WHERE inhrelid = pg_class.oid)
        OR EXISTS (
            SELECT FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
    )
    """
)
# A foreign key to a partitioned table has a copy for each partition.
_COPIED_KEYS = text(
    """
    SELECT nspname, relname, key.conname FROM pg_constraint AS key
    JOIN pg_constraint AS original ON original.oid = key.conparentid AND original.conrelid = key.conrelid
    JOIN pg_class ON pg_class.oid = key.conrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY(:schemas)
    """
)


@dataclass(frozen=True)
class Scope:
    """The side of the models that is compared, with its schemas."""

    connection: Connection
    target: MigrationTarget
    schemas: AbstractSet[str | None]
    """The names of the schemas in the models."""
    tables: Collection[Table]
    is_first: bool
    """Whether there is no revision yet, so that the first one has to create existing objects too."""

    def include_name(self, name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        """Return whether an object of the database is compared; for Alembic's option of this name."""
        if kind == "schema":
            return name in self.schemas
        schema = parents.get("schema_name")
        if kind == "table":
            is_left_alone = (schema, name) in self._made_by_others - self._declared
            return not (self.is_first or is_left_alone)
        if kind == "foreign_key_constraint":
            return (schema, parents.get("table_name"), name) not in self._copied_keys
        return self._has(schema)

    def include_object(self, item: Any, _name: str | None, kind: str, reflected: bool, _other: object) -> bool:  # noqa: FBT001
        """Return whether an object of the database or of the models is compared; for Alembic's option of this name."""
        if kind == "table":
            if reflected:
                self._forget_copied_keys(item)
            # One metadata may hold the models of the other side too.
            return item.name != "alembic_version" if reflected else (item.schema, item.name) in self._declared
        # Other packages compare their own kinds of objects, in all schemas.
        return isinstance(item, SchemaItem) or self._has(getattr(item, "schema", None))

    def _forget_copied_keys(self, table: Table) -> None:
        """Remove copied keys from a table, so that the downgrade of its removal does not write them."""
        for key in table.foreign_key_constraints:
            if (table.schema, table.name, key.name) in self._copied_keys:
                table.constraints.discard(key)

    def _has(self, schema: str | None) -> bool:
        return schema is None or schema in {each or self.target.schema for each in self.schemas}

    @cached_property
    def _declared(self) -> set[tuple[str | None, str]]:
        return {(table.schema, table.name) for table in self.tables}

    @cached_property
    def _made_by_others(self) -> set[tuple[str | None, str]]:
        """Partitions, inheriting tables and tables of extensions, by the models' name of the schema and their own."""
        return {(schema, name) for schema, name in self._find(_MADE_BY_OTHERS)}

    @cached_property
    def _copied_keys(self) -> set[tuple[str | None, str, str]]:
        return {(schema, table, name) for schema, table, name in self._find(_COPIED_KEYS)}

    def _find(self, query: TextClause) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of *query*, each with the models' name of its schema."""
        names = {each or self.target.schema: each for each in self.schemas}
        for schema, *others in self.connection.execute(query, {"schemas": [*names]}):
            yield names[schema], *others
