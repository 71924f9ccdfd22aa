"""The changes of a tenant that is served, applied to the tables of its copy until both have the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import BackupError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.naming import first_lines
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.limits import LOCK_TIMEOUT, limited
from tenantkit.postgres.pgoutput import Change, Truncate
from tenantkit.postgres.quoting import quote_literal
from tenantkit.postgres.replication import Changes
from tenantkit.transfer import catalog
from tenantkit.transfer.applying import COUNT, DANGLING, MISSING, Repetition

BEHIND = 0.2
"""Seconds: changes that take less to be applied are the last ones before writes are refused."""
_ROUNDS = 100
"""Number of times that changes are read before there are too many."""
_FEW = 1_000
"""Number of changes that are applied in less than `BEHIND`."""
_SIZE = 500_000
"""Number of characters that are sent at once."""


@dataclass(slots=True)
class Follower:
    """Applies *changes* to the tables at *target*, whose rows are those of a snapshot of the others."""

    changes: Changes
    there: Connection
    """To the database of the target, without a transaction."""
    target: MigrationTarget
    _: KW_ONLY
    subject: str
    """The tenant's key, for errors."""
    left: Callable[[], float | None]
    """Returns the seconds that are left for changes, if they are limited; raises if there are none."""
    applied: int = field(default=0, init=False)
    """The number of changes."""
    _may_keep_values: bool = field(default=True, init=False)
    _repetition: Repetition | None = field(default=None, init=False)
    _truncated: set[str] = field(default_factory=set[str], init=False)

    def catch_up(self) -> None:
        """Apply changes until those that came meanwhile take a moment.

        :raises BackupError: if that does not come, or one cannot be applied.
        """
        few = False
        for _ in range(_ROUNDS):
            begun, before = monotonic(), self.applied
            self._apply(self.changes.position())
            if monotonic() - begun < BEHIND:
                return
            few = self.applied - before < _FEW
            sleep(BEHIND / 2)
        # The server reads its log from the oldest transaction on that is open.
        raise self._error(
            "the server takes long to read its log: others write much, or have transactions open for long"
            if few
            else "its rows change faster than the changes are applied"
        )

    def finish(self) -> None:
        """Apply the rest, after which nothing was written.

        :raises BackupError: as `catch_up` does, or if ALTER TABLE has changed rows, which the log does not have.
        """
        self._apply(self.changes.position())
        if altered := self.changes.find_altered(self._truncated):
            raise self._error(f"these tables were altered, or written anew, meanwhile: {first_lines(altered)}")

    def _apply(self, position: str) -> None:
        """Apply all changes before a *position* in the log."""
        while True:
            left = self.left()
            with self.there.begin():
                catalog.pin(self.there)
                settings = (
                    f"search_path = {self.target.path}",
                    "standard_conforming_strings = on",
                    "session_replication_role = replica",
                )
                limits = limited(left) or (f"SET LOCAL lock_timeout = {quote_literal(LOCK_TIMEOUT)}",)
                catalog.execute(self.there, "; ".join((*(f"SET LOCAL {each}" for each in settings), *limits)))
                self._keep_values_from_logs()
                if self._repetition is None:
                    self._repetition = Repetition.read(self.there, self.target.schema)
                for block in _blocks(
                    self._repetition.statements(self._counted(self.changes.read(position, limit=left)))
                ):
                    self._execute(block)
            if self.changes.is_past(position):
                return

    def _counted(self, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            self.applied += 1
            if isinstance(change, Truncate):
                self._truncated |= {each.name for each in change.relations}
            yield change

    def _keep_values_from_logs(self) -> None:
        """Keep statements, which have the values of rows, out of the server's log and statistics, if the login may."""
        if self._may_keep_values:
            try:
                with self.there.begin_nested():
                    self.there.exec_driver_sql("SET LOCAL log_min_error_statement = panic")
                    self.there.exec_driver_sql("SET LOCAL pg_stat_statements.track_utility = off")
            except DBAPIError:
                self._may_keep_values = False

    def _execute(self, block: str) -> None:
        self.left()
        tag = f"$tk{token_hex(8)}$"
        try:
            # A column may have the name of a variable.
            catalog.execute(
                self.there,
                f"DO {tag}\n#variable_conflict use_column\nDECLARE {COUNT} bigint;\nBEGIN\n{block}END {tag}",
            )
        except DBAPIError as error:
            # Without its text, which has values of rows.
            why = _REASONS.get(sqlstate(error) or "") or f"the copy refuses a change ({_named(error)})"
            raise self._error(why) from None

    def _error(self, reason: str) -> BackupError:
        advice = (
            "insert it there first"
            if reason == _REASONS[DANGLING]
            else "stop_writes=True, or --stop-writes, moves it without following its changes"
        )
        return BackupError(self.subject, f"{reason}; {advice}", "")


_REASONS = {
    MISSING: "a row that was changed is not in its copy",
    "57014": "the last changes took too long",
    "55P03": "others have locked what the changes refer to",
    DANGLING: "a row refers to a shared row that does not exist in its new home",
}


def _named(error: DBAPIError) -> str:
    """Return the constraint or table of an error, and its SQLSTATE."""
    diagnostics: Any = getattr(error.orig, "diag", None)
    name = getattr(diagnostics, "constraint_name", None) or getattr(diagnostics, "table_name", None)
    return ", ".join(filter(None, (name, sqlstate(error))))


def _blocks(statements: Iterable[str]) -> Iterator[str]:
    """Yield statements joined into texts of a limited size."""
    block, size = list[str](), 0
    for each in statements:
        block.append(each)
        size += len(each)
        if size >= _SIZE:
            yield "".join(block)
            block, size = [], 0
    if block:
        yield "".join(block)
