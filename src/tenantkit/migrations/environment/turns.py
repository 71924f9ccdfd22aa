"""One revision, run once for each tenant in common tables, in turns.

The runs are greenlets of one thread and one connection. Each has its tenant's rows, and waits at a statement that
concerns the tables themselves until all have come to it. That statement is executed once; then all go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event

from tenantkit.databases.engines import explaining_imports
from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.tenant_column import SETTING
from tenantkit.postgres.sql_text import read_sql

if TYPE_CHECKING:
    from greenlet import greenlet

USE_ROWS = frozenset(
    {"select", "values", "table", "insert", "update", "delete", "merge", "copy", "do", "call", "execute", "explain"}
)
"""The commands that may use rows."""

OF_ONE_TENANT = frozenset({*USE_ROWS, "declare", "fetch", "move", "close", "savepoint", "release", "rollback", "show"})
"""The commands that are executed for each tenant; all others concern the tables themselves, or the transaction."""
_SET = "SELECT set_config(%s, %s, true)"


@dataclass(frozen=True, slots=True)
class _Waits:
    statement: str
    parameters: str


@dataclass(slots=True)
class _Turn:
    value: str
    """The tenant's value of the tenant column."""
    run: greenlet
    at: _Waits | None = None
    """Where it waits; ``None`` at the end."""


class Turns:
    """The runs of one revision for all tenants."""

    def __init__(self, connection: Connection, values: Sequence[str], run: Callable[[], object]) -> None:
        with explaining_imports():
            from greenlet import getcurrent, greenlet  # noqa: PLC0415 - an extra, needed for few revisions

        self._connection = connection
        self._depth = connection.get_nested_transaction()
        self._is_over = False
        self._here = getcurrent()
        self._turns = [_Turn(value, greenlet(run)) for value in values]
        self._current = self._turns[0]
        for turn in self._turns:
            turn.run.gr_context = copy_context()

    def take(self) -> object:
        """Run the revision, and return what its function returns for the first tenant.

        :raises ConfigurationError: if it does something else to the tables for one tenant than for another.
        """
        event.listen(self._connection, "before_cursor_execute", self._before, retval=True)
        event.listen(self._connection, "after_cursor_execute", self._after)
        try:
            returned = self._go_on()
            while self._turns[0].at is not None:
                returned = self._go_on()
            return returned
        finally:
            self._is_over = True
            for turn in self._turns:
                if not turn.run.dead:
                    with suppress(Exception):  # of the revision, as it is ended
                        turn.run.throw()
            event.remove(self._connection, "before_cursor_execute", self._before)
            event.remove(self._connection, "after_cursor_execute", self._after)

    def _go_on(self) -> object:
        """Let each run go on to the next statement that is executed once; the first run executes the one before.

        Return what the first run has come to.
        """
        reached: list[object] = []
        for turn in self._turns:
            self._current = turn
            self._enter(turn.value)
            reached.append(turn.run.switch())
            turn.at = reached[-1] if isinstance(reached[-1], _Waits) else None
        first = self._turns[0]
        if odd := next((turn for turn in self._turns if turn.at != first.at), None):
            raise unsupported(
                "does something else to the tables for one tenant than for another: "
                f"{_words(first.at)} for {first.value!r}, {_words(odd.at)} for {odd.value!r}. "
                "Change the tables independently of their rows"
            )
        return reached[0]

    def _before(
        self, connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: object
    ) -> tuple[str, Any]:
        if self._is_over:
            raise unsupported("goes on after it has failed for another tenant")
        sql = read_sql(statement)
        if sql.commands <= OF_ONE_TENANT:
            if sql.sets_sequence:
                raise unsupported("sets a sequence from rows: all tenants share it, and its numbers are unique already")
            return statement, parameters
        if sql.commands & OF_ONE_TENANT:
            raise unsupported("changes rows and tables in one text. Give each statement an op.execute of its own")
        if connection.get_nested_transaction() is not self._depth:
            raise unsupported("changes tables within a savepoint, and reads rows. Make two revisions of it")
        self._here.switch(_Waits(statement, repr(parameters)))
        if self._current is not self._turns[0]:
            return "SELECT WHERE false", type(parameters)()
        self._enter("")
        return statement, parameters

    def _after(self, _connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        if not read_sql(statement).commands <= OF_ONE_TENANT:
            self._enter(self._current.value)

    def _enter(self, value: str) -> None:
        driver: Any = self._connection.connection.driver_connection
        driver.execute(_SET, (SETTING, value))


def _words(at: _Waits | None) -> str:
    return "nothing more" if at is None else f"'{' '.join(at.statement.split())[:80]}'"


def unsupported(problem: str) -> ConfigurationError:
    """Return the error for a revision that *problem*, a verb with its objects."""
    return ConfigurationError(f"For tenants in common tables, tenantkit does not support that a revision {problem}.")
