"""Foreign keys to shared tables, which no other database than the main one can have."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Engine, ForeignKeyConstraint
from sqlalchemy.sql.compiler import DDLCompiler
from typing_extensions import override

from tenantkit.tables import referenced_table

_NOTHING = "SELECT"
"""A statement without an effect, in place of one that adds such a key."""


class _WithoutSharedKeys(DDLCompiler):
    """Leaves foreign keys to shared tables out of DDL."""

    @staticmethod
    def shared_schemas() -> Collection[str]:
        """Return the schemas of shared tables."""
        raise NotImplementedError

    @classmethod
    def leaves_out(cls, schema: str | None) -> bool:
        """Return whether a foreign key to a table in *schema* is left out."""
        return schema in cls.shared_schemas()

    def _leaves_out(self, constraint: Any) -> bool:
        if not isinstance(constraint, ForeignKeyConstraint):
            return False
        return any(self.leaves_out(referenced_table(each)[0]) for each in constraint.elements)

    @override
    def visit_foreign_key_constraint(self, constraint: Any, **options: Any) -> Any:
        if self._leaves_out(constraint):
            return None  # which CREATE TABLE skips
        return super().visit_foreign_key_constraint(constraint, **options)

    @override
    def visit_add_constraint(self, create: Any, **options: Any) -> Any:
        if self._leaves_out(create.element):
            return _NOTHING
        return super().visit_add_constraint(create, **options)  # type: ignore[no-untyped-call]

    @override
    def visit_drop_constraint(self, drop: Any, **options: Any) -> Any:
        drop.if_exists = True  # it may be such a key: Alembic need not know
        return super().visit_drop_constraint(drop, **options)  # type: ignore[no-untyped-call]


def leave_out_shared_keys(engine: Engine, shared_schemas: Callable[[], Collection[str]]) -> None:
    """Leave foreign keys to tables in *shared_schemas* out of the DDL on *engine*, which has no such tables."""
    compiler = engine.dialect.ddl_compiler
    if not issubclass(compiler, _WithoutSharedKeys):
        own = {"shared_schemas": staticmethod(shared_schemas)}
        engine.dialect.ddl_compiler = type("TenantkitDDLCompiler", (_WithoutSharedKeys, compiler), own)


def left_out_by(dialect: Any, schema: str | None) -> bool:
    """Return whether foreign keys to tables in *schema* are left out of the DDL of *dialect*."""
    compiler = dialect.ddl_compiler
    return issubclass(compiler, _WithoutSharedKeys) and compiler.leaves_out(schema)
