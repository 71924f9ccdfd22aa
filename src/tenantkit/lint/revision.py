"""A revision as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.lint.rendering.outside import OutsideError
from tenantkit.lint.sql.texts import TENANT_SCHEMA
from tenantkit.lint.sql.tree import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tenantkit.deployment import Deployment
    from tenantkit.isolation.tenant_column import TenantColumn
    from tenantkit.lint.rendering.render import Rendering, Step
    from tenantkit.lint.source.file import Source
    from tenantkit.lint.sql.statement import Statement
    from tenantkit.migrations.graph.revision_graph import Scope

_SYSTEM = frozenset({"information_schema", "pg_catalog", "pg_temp"})


@dataclass(frozen=True)
class Schemas:
    """The names of an application's schemas and tables."""

    placeholder: str | None
    shared: frozenset[str]
    extra: frozenset[str]
    tenant_prefix: str
    shared_tables: frozenset[str]
    """Without their schemas."""
    tenant_tables: frozenset[str]
    column: TenantColumn | None = None
    """The tenant column of tables that tenants share, if there are such tables."""

    @classmethod
    def of(cls, tenancy: Deployment, *, has_common_tables: bool = False) -> Schemas:
        """Return the names of *tenancy*.

        :param has_common_tables: whether tenants share tables, although new tenants do not by default.
        """
        return cls(
            placeholder=tenancy.placeholder,
            shared=frozenset(tenancy.shared_schemas),
            extra=frozenset(tenancy.extra_schemas),
            tenant_prefix=tenancy.application.schema_prefix,
            shared_tables=frozenset(table.name for table in tenancy.tables.shared),
            tenant_tables=frozenset(table.name for table in tenancy.tables.tenant),
            column=tenancy.isolations.column(of_any=has_common_tables),
        )

    def schema_translate_map(self, line: Scope) -> Mapping[str | None, str | None]:
        """Return the translation of the placeholder in revisions of *line*."""
        return {self.placeholder: TENANT_SCHEMA} if line == "tenant" else {}

    def is_expected(self, schema: str) -> bool:
        """Return whether a tenant revision may name *schema*."""
        return schema == TENANT_SCHEMA or schema in self.shared | self.extra | _SYSTEM

    def is_shared(self, name: Name | None) -> bool:
        """Return whether *name*, in a tenant revision, means a shared table."""
        if name is None or name.schema is not None:
            return name is not None and name.schema in self.shared
        is_visible = bool(self.shared & self.extra)
        return is_visible and name.name in self.shared_tables - self.tenant_tables

    def is_of_tenants(self, name: Name) -> bool:
        """Return whether *name*, in a shared revision, means a tenant's table."""
        if name.schema is None:
            return name.name in self.tenant_tables - self.shared_tables
        return name.schema == self.placeholder or self.is_tenant_schema(name.schema)

    def is_tenant_schema(self, schema: str) -> bool:
        """Return whether *schema* looks like that of one tenant."""
        return bool(self.tenant_prefix) and schema.startswith(self.tenant_prefix) and schema not in self.shared


@dataclass(frozen=True)
class Revision:
    """A revision with its statements and its source."""

    scope: Scope
    path: Path
    phase: str | None
    schemas: Schemas
    source: Source
    is_replayed: bool
    """Whether its statements may be replayed: not with ``replay = False``."""
    first: Rendering
    second: Rendering
    """A second rendering. If it differs, the revision depends on something outside of it."""
    history: Callable[[], Iterable[Revision]]
    """The revisions before it, in order; rendering them takes a while."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that it would send."""
        return self.first.steps

    def statements(self) -> Iterator[tuple[Step, Statement]]:
        """Yield each statement, with the step that it is part of."""
        for step in self.steps:
            for statement in step.statements:
                yield step, statement

    @property
    def works_outside(self) -> bool:
        """Whether it is not checked to its end because it works outside of its connection."""
        return isinstance(self.first.error, OutsideError) or any(
            suspicion.kind == "connects" for suspicion in self.source.suspicions
        )

    def all_statements(self) -> Iterator[tuple[Step, Statement]]:
        """Yield also the statements in the bodies of each DO and of the functions that are called."""
        return iter(self._executed[0])

    def bodies(self) -> Iterator[tuple[Step, Statement]]:
        """Yield each DO, and the CREATE FUNCTION of each called function that this or an earlier revision creates."""
        return iter(self._executed[1])

    @cached_property
    def _executed(self) -> tuple[list[tuple[Step, Statement]], list[tuple[Step, Statement]]]:
        statements: list[tuple[Step, Statement]] = []
        bodies: list[tuple[Step, Statement]] = []
        functions: dict[str, Statement] = {}
        for step in self.steps:
            called: set[str] = set()
            waiting = [*reversed(step.all_statements)]
            while waiting:
                statement = waiting.pop()
                statements.append((step, statement))
                if statement.kind == "DoStmt":
                    bodies.append((step, statement))
                elif statement.kind == "CreateFunctionStmt" and statement.creates is not None:
                    functions[statement.creates.name] = statement
                for name in statement.calls:
                    function = functions.get(name) or self._functions_before.get(name)
                    if function is not None and name not in called:
                        called.add(name)
                        bodies.append((step, function))
                        waiting += reversed(function.executed)
        return statements, bodies

    @cached_property
    def _functions_before(self) -> dict[str, Statement]:
        return {
            statement.creates.name: statement
            for revision in self.history()
            for step in revision.steps
            for statement in step.all_statements
            if statement.kind == "CreateFunctionStmt" and statement.creates is not None
        }

    def earlier(self) -> Iterator[Statement]:
        """Yield the statements of the revisions before it, in their order."""
        for revision in self.history():
            for _, statement in revision.all_statements():
                yield statement

    @cached_property
    def created(self) -> frozenset[str]:
        """The objects that it creates, without schemas; they are not in use yet."""
        return frozenset(
            statement.creates.name for _, statement in self.all_statements() if statement.creates is not None
        )
