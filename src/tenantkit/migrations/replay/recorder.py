"""Recording what Alembic sends while it migrates a placement.

A recording can be sent to other placements if nothing flowed back from the database into the Python of a revision: what
Alembic's operations send returns nothing to it. Everything else that a revision does with the connection
(``op.get_bind()``, an inspector, a session) is an obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import op
from alembic.operations.ops import BulkInsertOp, ExecuteSQLOp
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection, Select, event
from typing_extensions import override

from tenantkit.exceptions import TenantkitError
from tenantkit.migrations.environment.alias import ALIAS, QUOTED_ALIAS
from tenantkit.migrations.environment.outside import observing, warn
from tenantkit.migrations.graph.revision_scripts import replays
from tenantkit.migrations.replay.literals import write_literals
from tenantkit.migrations.replay.script import Script, Step
from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from alembic.operations import Operations
    from alembic.operations.ops import MigrateOperation
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads

# Each by its OID: joined, all tables of all tenants would be looked at.
_LOCKS = """
    SELECT count(DISTINCT relation) AS relations, coalesce(
        bool_or(
            mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock')
            AND (
                SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE pg_class.oid = relation
            ) NOT IN (%(schema)s, 'pg_catalog', 'pg_toast', 'tenantkit')
        ),
        false
    ) AS touches_shared
    FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
"""

LEXER = re.compile("standard_conforming_strings|client_encoding|backslash_quote", re.IGNORECASE)
"""Settings that change how the text of a statement is read."""


class NotRecordableError(TenantkitError):
    """A revision would do something else because it is recorded. Without that, it may be as good as any other."""


class Recorder:
    """Takes down one run of Alembic over one placement, whose schema the revisions know as `ALIAS`."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._steps: list[Step] = []
        self._revision = ""
        self._statements: list[str] = []
        self._is_running = False
        self._operations: list[type | None] = []
        self._touches_shared = False
        self._relations = 1
        self._may_change_session = False
        self.before: Heads = ()
        self.obstacle: str | None = None
        """Why the recording is of no use for others, if so."""
        self.autocommit: str | None = None
        """The first revision that does something outside of a transaction; the recording ends before it."""

    def script(self) -> Script:
        """Return what was recorded."""
        return Script(
            before=self.before,
            steps=tuple(self._steps),
            may_change_session=self._may_change_session,
            touches_shared=self._touches_shared,
            relations=self._relations,
        )

    def refuse(self, why: str) -> None:
        """Note an obstacle; the first one is the one to tell."""
        self.obstacle = self.obstacle or why

    @contextmanager
    def listening(self, connection: Connection) -> Generator[None]:
        """Hear what is sent on *connection*, and send the real name of the schema instead of its alias."""
        driver: Any = connection.connection.driver_connection
        if driver.info.encoding != "utf-8":
            self.refuse(f"connections are in {driver.info.encoding}, and only UTF-8 is replayed (client_encoding)")
        event.listen(connection, "before_cursor_execute", self._hear, retval=True)
        try:
            yield
        finally:
            event.remove(connection, "before_cursor_execute", self._hear)

    def guard(self, migration: MigrationContext) -> None:
        """Notice when a revision asks Alembic for the schema, which it may then decide by."""
        recorder, schema = self, migration.version_table_schema

        class Guarded(MigrationContext):
            @property
            @override
            def version_table_schema(self) -> str | None:  # type: ignore[override]
                if recorder._is_running:
                    recorder.refuse(f"revision {recorder._revision} asks for its schema (version_table_schema)")
                return schema

        del migration.version_table_schema
        migration.__class__ = Guarded

    def watch(self, step: MigrationStep) -> MigrationStep:
        """Have the revision of *step* recorded when Alembic runs it."""
        run: Callable[..., object] = step.migration_fn

        def migration_fn(**options: Any) -> object:
            # Of a stamp, there is nothing to record.
            self._revision = step.revision.revision if isinstance(step, RevisionStep) else ""
            self._statements = []
            operations = _proxy()
            connection: Any = operations.migration_context.connection
            driver = connection.connection.driver_connection
            if isinstance(step, RevisionStep) and not replays(step.revision):
                self.refuse(f"revision {self._revision} says replay = False")
            with self._inside_operations(operations), observing(driver, self._note_outside):
                return run(**options)

        step.migration_fn = migration_fn
        return step

    def applied(self, heads: Heads) -> None:
        """Note that the revision has been applied, and where the placement is now."""
        if self.autocommit is None:
            self._steps.append(Step(self._revision, tuple(self._statements), heads))

    def before_commit(self, connection: Connection) -> None:
        """Look which tables are locked."""
        found = connection.exec_driver_sql(_LOCKS, {"schema": self._schema}).one()
        self._touches_shared |= found.touches_shared
        self._relations = max(self._relations, found.relations)

    @contextmanager
    def _inside_operations(self, operations: Operations) -> Generator[None]:
        """Know, while a revision runs, what comes from Alembic's own operations."""
        context: Any = operations.migration_context
        invoke, execute, autocommit_block = operations.invoke, context.impl._exec, context.autocommit_block  # noqa: SLF001

        def invoked(operation: MigrateOperation) -> Any:
            own = type(operation).__module__.startswith("alembic.")
            with self._operating(type(operation) if own else None):
                return invoke(operation)

        def executed(*args: Any, **options: Any) -> Any:
            with self._operating(self._operations[-1] if self._operations else object):
                return execute(*args, **options)

        def autocommitted() -> Any:
            if self.autocommit is None and context.connection is not None:
                self._is_running = False
                self.before_commit(context.connection)  # the block begins with a commit
                self._is_running = True
            self.autocommit = self.autocommit or self._revision
            return autocommit_block()

        operations.invoke = invoked  # type: ignore[method-assign]
        context.impl._exec = executed  # noqa: SLF001
        context.autocommit_block = autocommitted
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False
            operations.invoke = invoke  # type: ignore[method-assign]
            context.impl._exec = execute  # noqa: SLF001
            context.autocommit_block = autocommit_block

    @contextmanager
    def _operating(self, operation: type | None) -> Generator[None]:
        self._operations.append(operation)
        try:
            yield
        finally:
            self._operations.pop()

    def _hear(
        self, connection: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, *many: bool
    ) -> tuple[str, Any]:
        if self._is_running and self.autocommit is None:
            self._note(connection, statement, parameters, context, many=any(many))
        sent = statement.replace(QUOTED_ALIAS, quote_identifier(self._schema))
        values = _with_schema(parameters, self._schema)
        if ALIAS in sent or ALIAS in repr(values):
            # It must not come to be in a tenant's data.
            self.refuse(f"revision {self._revision} uses the name of its schema as a value")
            raise NotRecordableError(self.obstacle)
        return sent, values

    def _note(self, connection: Connection, statement: str, parameters: Any, context: Any, *, many: bool) -> None:
        operation = self._operations[-1] if self._operations else None
        reads = isinstance(getattr(context.compiled, "statement", None), Select)
        if operation is not ExecuteSQLOp and reads and "pg_type" in statement:
            return  # whether a named type is there, asked before it is created
        if operation is None or (reads and operation is not ExecuteSQLOp):
            self.refuse(f"revision {self._revision} uses the database itself (op.get_bind() and the like)")
            return
        # What is no plain DDL may call a function, or have a trigger do so, and with it do anything.
        self._may_change_session |= operation in (ExecuteSQLOp, BulkInsertOp)
        for values in parameters if many else [parameters]:
            sent = statement if context.no_parameters and not values else write_literals(connection, statement, values)
            if LEXER.search(sent):
                # The whole script is taken apart before its first statement is executed.
                self.refuse(f"revision {self._revision} changes how statements are read")
            self._statements.append(sent)

    def _note_outside(self, what: str) -> None:
        why = f"revision {self._revision} {what}"
        warn(self._revision, what)
        self.refuse(why)


def _proxy() -> Operations:
    """Return what the functions of ``alembic.op`` call."""
    proxy: Operations = op.__dict__["_proxy"]
    return proxy


def _with_schema(parameters: Any, schema: str) -> Any:
    """Return *parameters* with the real schema where a value is the alias: Alembic asks the catalog for types."""
    match parameters:
        case [*several]:
            return [_with_schema(each, schema) for each in several]
        case {**values}:
            return {name: schema if value == ALIAS else value for name, value in values.items()}
        case _:
            return parameters
