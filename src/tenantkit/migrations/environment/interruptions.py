"""Continuation of a revision that was interrupted outside of its transaction, after part of it was committed.

``CREATE INDEX CONCURRENTLY`` and the like are done before the version table can say so. A process that dies in between
would leave a tenant that has the index and, as far as is known, not the revision; it would fail for ever. So a
comment on the version table names the revision that has begun such steps, from the transaction before them to the one
that writes the new version. Where it is found, a step of this revision counts as done if its result exists.
A step that fails is no interruption: then the comment is removed, and the error names the obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.migrations.catalog.copies import is_autocommit
from tenantkit.migrations.catalog.indexes import drop_left_over, find_index, meant_index, read_create_index
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.postgres.errors import is_lock_conflict
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.registry.revisions import DOWNGRADE, MARK

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

_FIND = own_query(
    """
    SELECT obj_description(pg_class.oid, 'pg_class') FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(:schema)) AND relname = 'alembic_version'
    """
)

_CREATES = re.compile(
    r"^(\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY|ALTER\s+TYPE\s+\S+\s+ADD\s+VALUE))\s+(?!(?:IF|ON)\b)",
    re.IGNORECASE,
)
_BUILDS = re.compile(r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\b", re.IGNORECASE)
_DROPS = re.compile(r"^(\s*DROP\s+INDEX\s+CONCURRENTLY)\s+(?!(?:IF|ON)\b)", re.IGNORECASE)


class Interruption:
    """The steps outside of a transaction that have begun in one schema, and may not have ended."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._running = ""
        self._marked: str | None = None
        self._found: str | None = None
        self._built: list[tuple[str, str]] = []
        """The indexes that the revision has begun to build, each with its table."""

    def watch(self, steps: Iterable[MigrationStep]) -> Iterator[MigrationStep]:
        """Yield *steps*, and note the running revision of each."""
        for step in steps:
            if isinstance(step, RevisionStep):
                self._watch(step)
            yield step

    def find(self) -> None:
        """Look for an interrupted revision."""
        comment: str | None = self._connection.execute(_FIND, {"schema": self._schema}).scalar()
        if comment is not None and comment.startswith(MARK):
            self._marked = self._found = comment.removeprefix(MARK)

    @contextmanager
    def tolerated(self) -> Generator[None]:
        """Let the interrupted revision accept existing results of its steps as its own, during a block."""
        event.listen(self._connection, "before_cursor_execute", self._adapt, retval=True)
        try:
            yield
        finally:
            event.remove(self._connection, "before_cursor_execute", self._adapt)

    def expect(self) -> None:
        """Record, in the transaction before them, that steps outside of one begin."""
        if self._marked != self._running:
            self._comment(MARK + self._running)
            self._marked = self._running

    def fail(self, error: Exception) -> None:
        """Record that such steps have failed, which is no interruption, unless they will be repeated.

        The record of a downgrade is kept, because removed objects are gone, whatever the version table says. An index
        that could not be built is dropped: it would obstruct a revision that builds it differently.
        """
        for name, table in self._built:
            with suppress(SQLAlchemyError):
                there = find_index(self._connection, name, table)
                if there is not None and there.is_left_over:
                    drop_left_over(self._connection, there)
        is_kept = self._running.startswith(DOWNGRADE) or is_lock_conflict(error)
        if self._found != self._running and not is_kept:
            with suppress(SQLAlchemyError):  # the connection may be lost, which is an interruption
                self._comment(None)
                self._marked = None

    def forget(self) -> None:
        """Record, in the transaction of the new version, that they are done."""
        if self._marked == self._running:
            self._comment(None)
            self._marked = self._found = None

    def _watch(self, step: RevisionStep) -> None:
        run: Callable[..., object] = step.migration_fn

        def migration_fn(**options: Any) -> object:
            self._running = f"{'upgrade ' if step.is_upgrade else DOWNGRADE}{step.revision.revision}"
            return run(**options)

        step.migration_fn = migration_fn

    def _comment(self, comment: str | None) -> None:
        table = f"{quote_identifier(self._schema)}.alembic_version"
        value = "NULL" if comment is None else quote_literal(comment)
        self._connection.exec_driver_sql(f"COMMENT ON TABLE {table} IS {value}".replace("%", "%%"))

    def _adapt(self, connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        is_again = self._found == self._running
        if _BUILDS.match(statement) and is_autocommit(connection):
            is_tolerated = self._drop_leftover(connection, statement.replace("%%", "%"), is_again=is_again)
        else:
            is_tolerated = is_again
        return (_tolerant(statement) if is_tolerated else statement), parameters

    def _drop_leftover(self, connection: Connection, statement: str, *, is_again: bool) -> bool:
        """Drop the remains of an interrupted build of this index; return whether the index counts as built."""
        read = read_create_index(statement)
        if read is None:
            return False
        there = find_index(connection, *read)
        is_ours = there is None
        if there is not None and there.is_on_table and (there.is_left_over or (is_again and there.is_valid)):
            is_ours = there.equals(meant_index(connection, statement))
            if is_ours and there.is_left_over:
                drop_left_over(connection, there)
        if is_ours:
            self._built.append(read)
        return is_ours and is_again


def _tolerant(statement: str) -> str:
    return _DROPS.sub(r"\1 IF EXISTS ", _CREATES.sub(r"\1 IF NOT EXISTS ", statement))
