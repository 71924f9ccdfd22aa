"""Steps of revisions that change or read the rows of common tables: each is executed once for each tenant.

A statement over the rows of all tenants would join those of one with another's, wherever keys are equal.

A statement that only changes rows is executed for each tenant where it stands. A revision that reads rows may do
something else for each tenant: it is run again from its beginning, once for each tenant; see `Turns`.

Each step is also executed for a tenant that does not exist. New tenants begin with a copy of its rows, as tenants with
a schema of their own begin with what all revisions have written; see `tenantkit.isolation.row.initial`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, Delete, Insert, NestedTransaction, TextClause, Update, event, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.initial import refuse_initial_rows
from tenantkit.isolation.row.policies import NO_TENANT
from tenantkit.isolation.row.removal import enter
from tenantkit.isolation.row.security import login_problem
from tenantkit.isolation.row.writing import require_divided
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.migrations.environment.turns import OF_ONE_TENANT, USE_ROWS, Turns, unsupported
from tenantkit.postgres.errors import causes, sqlstate
from tenantkit.postgres.sql_text import read_sql
from tenantkit.status import MIGRATED, Status

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep
    from sqlalchemy.engine import ExceptionContext

_TENANTS = text(
    "SELECT coalesce(row_value, id::text) FROM tenantkit.tenants "
    "WHERE database = :database AND schema = :schema AND status = ANY(:statuses) ORDER BY id"
)
_TEMPORARY = text("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' LIMIT 1")
_HAVE_ROWS = (*MIGRATED, Status.DROPPING)
_CHANGES = {"insert", "update", "delete", "merge"}
_HAVE_BODIES = {"call", "do"}
"""Commands that may execute others, also such as change tables."""
_READS_AND_LEAVES = "reads rows, and leaves its transaction. Make two revisions of it"
_ABORTED = "25P02"
"""The SQLSTATE of each statement after one that has failed."""


class TenantRows:
    """The rows of the tenants at one target, as revisions change them; nothing is done in a schema of one tenant."""

    def __init__(self, connection: Connection, target: MigrationTarget) -> None:
        self._connection = connection
        self._target = target
        self._is_outside = True
        """Whether what is executed is no step of a revision, or is repeated already."""
        self._savepoint: NestedTransaction | None = None
        """The beginning of the revision, while it can be run again."""
        self._tenants: Sequence[str] | None = None
        self._is_running = False
        """Whether a revision is running."""
        self._is_unverified = True
        """Whether the tables may have been changed since `_verify`."""
        self._has_read = False
        """Whether the revision has read rows without a tenant, be it that it caught the error."""

    @contextmanager
    def divided(self) -> Generator[None]:
        """Execute each statement that changes rows once for each tenant, during a block that runs revisions.

        :raises ConfigurationError: if row security does not hold for the login, or if revisions have written rows that
            new tenants would not get.
        """
        column, connection = self._target.column, self._connection
        if column is None:
            yield
            return
        if not self._target.in_transaction and (problem := login_problem(connection)):
            raise ConfigurationError(f"The common tables cannot be migrated: {problem}.")
        listeners: Sequence[tuple[Any, str, Callable[..., Any], dict[str, bool]]] = (
            (connection, "before_execute", partial(self._before_execute, column), {"retval": True}),
            (connection, "before_cursor_execute", self._before_cursor_execute, {}),
            (connection.engine, "handle_error", self._note_error, {}),
        )
        for target, name, listener, options in listeners:
            event.listen(target, name, listener, **options)
        try:
            yield
        finally:
            for target, name, listener, _ in listeners:
                event.remove(target, name, listener)
        self._verify()
        refuse_initial_rows(connection, self._target.schema, column)

    def watch(self, steps: Iterable[MigrationStep]) -> Iterator[MigrationStep]:
        """Yield *steps*, which run once for each tenant if they read rows."""
        for step in steps:
            if self._target.column is not None and isinstance(step, RevisionStep):
                step.migration_fn = partial(self._run, self._target.column, step.migration_fn)
            yield step

    def leave(self) -> None:
        """Keep what the revision has done so far, as it leaves its transaction.

        :raises ConfigurationError: if the revision runs once for each tenant.
        """
        if self._target.column is None:
            return
        if self._is_outside:
            raise unsupported(_READS_AND_LEAVES)
        self._end_savepoint()

    def _run(self, column: TenantColumn, run: Callable[..., object], **options: Any) -> object:
        self._is_running = self._is_unverified = True
        try:
            if (done := self._run_once(run, **options)) is not None:
                return done[0]
            returned = Turns(self._connection, self._values(column), partial(run, **options)).take()
            enter(self._connection, "")
            return returned
        finally:
            self._is_running = False

    def _run_once(self, run: Callable[..., object], **options: Any) -> tuple[object] | None:
        """Run a revision for all tenants at once, and return what it returns; ``None`` if it is to run for each."""
        self._is_outside = self._has_read = False
        savepoint = self._savepoint = self._connection.begin_nested()
        try:
            returned = run(**options)
            if not self._has_read:
                self._end_savepoint()
                return (returned,)
        except Exception as error:
            if not (_needs_a_tenant(error) or (self._has_read and savepoint.is_active)):
                raise
        finally:
            self._is_outside = True
        if not savepoint.is_active:
            raise unsupported(_READS_AND_LEAVES)
        savepoint.rollback()
        return None

    def _end_savepoint(self) -> None:
        if self._savepoint is not None:
            self._savepoint.commit()
            self._savepoint = None

    def _before_execute(
        self, column: TenantColumn, connection: Connection, construct: Any, many: Any, params: Any, _options: Any
    ) -> Any:
        if self._is_outside or not _only_changes_rows(construct):
            return construct, many, params
        self._is_outside = True
        try:
            for value in self._values(column):
                enter(connection, value)
                connection.execute(construct, many or params or None)
            enter(connection, "")
        finally:
            self._is_outside = False
        return text("SELECT WHERE false"), [], {}

    def _before_cursor_execute(self, _connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        """Have the tables verified before the first statement that uses rows after one that may have changed tables."""
        commands = read_sql(statement).commands
        if not commands <= OF_ONE_TENANT:
            self._is_unverified = True
        elif self._is_running and self._is_unverified and commands & USE_ROWS:
            self._is_unverified = False
            self._verify()
            self._is_unverified = bool(commands & _HAVE_BODIES)

    def _verify(self) -> None:
        """Raise if there is a table whose rows are not divided among tenants, as each tenant's step would use them all.

        :raises ConfigurationError: if there is one.
        """
        require_divided(self._connection, self._target)
        if (name := self._connection.execute(_TEMPORARY).scalar()) is not None:
            raise unsupported(f"makes a temporary table ({name}), which no policy divides. Use WITH instead")

    def _note_error(self, context: ExceptionContext) -> None:
        if context.connection is self._connection and NO_TENANT in str(context.original_exception):
            self._has_read = True

    def _values(self, column: TenantColumn) -> Sequence[str]:
        """Return the tenants' values of the tenant column, first the one that no tenant has."""
        if self._tenants is None:
            place = self._target.placement
            where = {"database": place.database, "schema": place.schema, "statuses": [*_HAVE_ROWS]}
            self._tenants = column.no_tenant, *self._connection.execute(_TENANTS, where).scalars()
        return self._tenants


def _only_changes_rows(construct: Any) -> bool:
    if isinstance(construct, TextClause):
        sql = read_sql(construct.text)
        return sql.commands <= _CHANGES and not sql.returns_rows
    return isinstance(construct, Insert | Update | Delete) and not construct._returning  # noqa: SLF001


def _needs_a_tenant(error: Exception) -> bool:
    """Return whether *error* is from a statement that read rows without a tenant, or from one that followed it."""
    return any(sqlstate(each) == _ABORTED or NO_TENANT in str(each) for each in causes(error))
