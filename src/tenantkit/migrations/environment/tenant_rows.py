"""Steps of revisions that change rows of common tables: each is executed once for each tenant, under its policy.

A statement over the rows of all tenants would join those of one with another's, wherever keys are equal.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, TableClause, TextClause, Update, event, text
from sqlalchemy.sql import visitors

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.removal import enter
from tenantkit.isolation.row.security import login_problem
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn

_TENANTS = text(
    "SELECT coalesce(row_value, id::text) FROM tenantkit.tenants "
    "WHERE database = :database AND schema = :schema ORDER BY id"
)
_CHANGES_ROWS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:(?:INSERT|UPDATE|DELETE|MERGE)\b|WITH\b.*\b(?:INSERT|UPDATE|DELETE|MERGE)\b)",
    re.IGNORECASE | re.DOTALL,
)
_RETURNS_ROWS = re.compile(r"\bRETURNING\b", re.IGNORECASE)


@contextmanager
def once_per_tenant(connection: Connection, target: MigrationTarget) -> Generator[None]:
    """Execute each statement that changes rows once for each tenant of *target*, if tenants share its tables.

    :raises ConfigurationError: if tables are in use and row security does not hold for the login, or from a statement
        that row isolation does not support in revisions.
    """
    if target.column is None:
        yield
        return
    if not target.in_transaction and (problem := login_problem(connection)):
        raise ConfigurationError(f"The common tables cannot be migrated: {problem}.")
    steps = _Steps(target, target.column)
    event.listen(connection, "before_execute", steps.before_execute, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_execute", steps.before_execute)


@dataclass(slots=True)
class _Steps:
    target: MigrationTarget
    column: TenantColumn
    _is_repeating: bool = False
    _tenants: Sequence[str] | None = None

    def before_execute(self, connection: Connection, construct: Any, many: Any, params: Any, _options: Any) -> Any:
        if self._is_repeating or not _changes_rows(construct):
            if not self._is_repeating and self._reads_rows(construct):
                raise _unsupported("reads rows. Write the step as one UPDATE, DELETE or INSERT … SELECT")
            return construct, many, params
        if _returns_rows(construct):
            raise _unsupported("uses the rows that a statement returns. Leave out RETURNING")
        self._is_repeating = True
        try:
            self._repeat(connection, construct, many or params or None)
        finally:
            self._is_repeating = False
        return text("SELECT WHERE false"), [], {}

    def _repeat(self, connection: Connection, construct: Any, parameters: Any) -> None:
        with connection.begin_nested() as savepoint:
            enter(connection, self.column.no_tenant)
            if connection.execute(construct, parameters).rowcount != 0:
                raise _unsupported(
                    "writes rows for a tenant that has none. Tenants that are created later do not run the revision: "
                    "let seed= write such rows, also those of the tenants that are there"
                )
            savepoint.rollback()
        if self._tenants is None:
            where = {"database": self.target.placement.database, "schema": self.target.schema}
            self._tenants = connection.execute(_TENANTS, where).scalars().all()
        for tenant in self._tenants:
            enter(connection, tenant)
            connection.execute(construct, parameters)
        enter(connection, "")

    def _reads_rows(self, statement: Any) -> bool:
        return isinstance(statement, Select) and any(
            isinstance(element, TableClause) and element.schema == self.target.placeholder
            for element in visitors.iterate(statement)  # pyright: ignore[reportUnknownArgumentType]
        )


def _changes_rows(construct: Any) -> bool:
    if isinstance(construct, TextClause):
        return _CHANGES_ROWS.match(construct.text) is not None
    return isinstance(construct, Insert | Update | Delete) and getattr(construct.table, "name", "") != "alembic_version"


def _returns_rows(construct: Any) -> bool:
    if isinstance(construct, TextClause):
        return _RETURNS_ROWS.search(construct.text) is not None
    return bool(construct._returning)  # noqa: SLF001


def _unsupported(problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"For tenants in common tables, tenantkit does not support yet that a revision {problem}."
    )
