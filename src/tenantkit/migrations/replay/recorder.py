"""Recording of the statements that Alembic sends while it migrates a placement.

A recording can be sent to other placements if a revision's Python received no data from the database: Alembic's
operations return none to it. Every other use of the connection (``op.get_bind()``, an inspector, a session) is an
obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import op
from alembic.operations.ops import BulkInsertOp, ExecuteSQLOp
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import Connection, Select, Update, event
from typing_extensions import override

from tenantkit.exceptions import TenantkitError
from tenantkit.migrations.environment.alias import ALIAS, QUOTED_ALIAS
from tenantkit.migrations.environment.outside import Values, observing, warn
from tenantkit.migrations.graph.revision_scripts import replays
from tenantkit.migrations.replay.literals import write_literals
from tenantkit.migrations.replay.script import Script, Step
from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from pathlib import Path

    from alembic.operations import Operations
    from alembic.operations.ops import MigrateOperation
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.graph.revision_graph import Heads

# Subqueries by OID: a join would read all tables of all tenants.
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

_KNOWN, _OWN = "alembic.", "tenantkit.migrations.operations."
"""Packages of operations that return no data to a revision."""

LEXER = re.compile("standard_conforming_strings|client_encoding|backslash_quote", re.IGNORECASE)
"""Settings that change how the text of a statement is parsed."""


class NotRecordableError(TenantkitError):
    """A revision would behave differently because it is recorded. Without recording, it may succeed."""


class Recorder:
    """Records one run of Alembic on one placement, whose schema has the name `ALIAS` for the revisions."""

    def __init__(self, schema: str, *, environment: Path | None = None) -> None:
        """Record for *schema*; with an *environment*, whose files are known, for creations at any later time.

        The catalog and rows of a new schema depend on its revisions only, so tenantkit's own operations may read them.
        But what the revisions take from outside may have changed at a later creation.
        """
        self._schema = schema
        self._environment = environment
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
        """Why the recording cannot be replayed; ``None`` if it can."""
        self.autocommit: str | None = None
        """The first revision with a step outside of a transaction; the recording ends before it."""

    def script(self) -> Script:
        """Return the recorded script."""
        return Script(
            before=self.before,
            steps=tuple(self._steps),
            may_change_session=self._may_change_session,
            touches_shared=self._touches_shared,
            relations=self._relations,
        )

    def refuse(self, reason: str) -> None:
        """Set the obstacle, unless there is one already."""
        self.obstacle = self.obstacle or reason

    @contextmanager
    def listening(self, connection: Connection) -> Generator[None]:
        """Record the statements on *connection*, and replace the alias by the real name of the schema."""
        driver: Any = connection.connection.driver_connection
        if driver.info.encoding != "utf-8":
            self.refuse(f"connections are in {driver.info.encoding}, and only UTF-8 is replayed (client_encoding)")
        event.listen(connection, "before_cursor_execute", self._on_statement, retval=True)
        try:
            yield
        finally:
            event.remove(connection, "before_cursor_execute", self._on_statement)

    def guard(self, migration: MigrationContext) -> None:
        """Set an obstacle if a revision asks Alembic for its schema, because its statements may depend on it."""
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
        """Return *step* so that its revision is recorded when Alembic runs it."""
        run: Callable[..., object] = step.migration_fn

        def migration_fn(**options: Any) -> object:
            # A stamp has nothing to record.
            self._revision = step.revision.revision if isinstance(step, RevisionStep) else ""
            self._statements = []
            operations = _operations_proxy()
            connection: Any = operations.migration_context.connection
            driver = connection.connection.driver_connection
            if isinstance(step, RevisionStep) and not replays(step.revision):
                self.refuse(f"revision {self._revision} has replay = False")
            values = Values(self._note_value, self._environment) if self._environment is not None else None
            with self._inside_operations(operations), observing(driver, self._note_outside, values):
                return run(**options)

        step.migration_fn = migration_fn
        return step

    def applied(self, heads: Heads) -> None:
        """Record that the revision is applied, and the new heads."""
        if self.autocommit is None:
            self._steps.append(Step(self._revision, tuple(self._statements), heads))

    def before_commit(self, connection: Connection) -> None:
        """Read the locks of the transaction."""
        found = connection.exec_driver_sql(_LOCKS, {"schema": self._schema}).one()
        self._touches_shared |= found.touches_shared
        self._relations = max(self._relations, found.relations)

    @contextmanager
    def _inside_operations(self, operations: Operations) -> Generator[None]:
        """Record, while a revision runs, the operation of Alembic that sends a statement."""
        context: Any = operations.migration_context
        invoke, execute, autocommit_block = operations.invoke, context.impl._exec, context.autocommit_block  # noqa: SLF001

        def invoked(operation: MigrateOperation) -> Any:
            own = type(operation).__module__.startswith(_KNOWN if self._environment is None else (_KNOWN, _OWN))
            with self._operating(type(operation) if own else None):
                return invoke(operation)

        def executed(*args: Any, **options: Any) -> Any:
            with self._operating(self._operations[-1] if self._operations else object):
                return execute(*args, **options)

        def autocommitted() -> Any:
            if self._environment is not None:  # there is one transaction for everything
                return autocommit_block()
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

    def _on_statement(
        self, connection: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, *many: bool
    ) -> tuple[str, Any]:
        if self._is_running and self.autocommit is None:
            self._note(connection, statement, parameters, context, many=any(many))
        sent = statement.replace(QUOTED_ALIAS, quote_identifier(self._schema))
        values = _with_schema(parameters, self._schema)
        if ALIAS in sent or ALIAS in repr(values):
            # The alias must not be stored in a tenant's data.
            self.refuse(f"revision {self._revision} uses the name of its schema as a value")
            raise NotRecordableError(self.obstacle)
        return sent, values

    def _note(self, connection: Connection, statement: str, parameters: Any, context: Any, *, many: bool) -> None:
        operation = self._operations[-1] if self._operations else None
        sent = getattr(context.compiled, "statement", None)
        reads = isinstance(sent, Select)
        if operation is not None and operation.__module__.startswith(_OWN) and not isinstance(sent, Update):
            return  # what they do besides is to read, by objects that they take back
        if operation is not ExecuteSQLOp and reads and "pg_type" in statement:
            return  # the check whether a named type exists, before it is created
        if operation is None or (reads and operation is not ExecuteSQLOp):
            self.refuse(f"revision {self._revision} uses the database itself (op.get_bind() and the like)")
            return
        # Statements other than plain DDL may call functions, also by triggers, with any side effect.
        self._may_change_session |= operation in (ExecuteSQLOp, BulkInsertOp)
        for values in parameters if many else [parameters]:
            text = statement if context.no_parameters and not values else write_literals(connection, statement, values)
            if LEXER.search(text):
                # The whole script is parsed before its first statement is executed.
                self.refuse(f"revision {self._revision} changes how statements are parsed")
            self._statements.append(text)

    def _note_value(self, what: str) -> None:
        self.refuse(f"revision {self._revision} {what}")

    def _note_outside(self, what: str) -> None:
        reason = f"revision {self._revision} {what}"
        warn(self._revision, what)
        self.refuse(reason)


def _operations_proxy() -> Operations:
    """Return the object that the functions of ``alembic.op`` call."""
    proxy: Operations = op.__dict__["_proxy"]
    return proxy


def _with_schema(parameters: Any, schema: str) -> Any:
    """Return *parameters* with the real schema for the alias, with which Alembic asks the catalog for types."""
    match parameters:
        case [*several]:
            return [_with_schema(each, schema) for each in several]
        case {**values}:
            return {name: schema if value == ALIAS else value for name, value in values.items()}
        case _:
            return parameters
