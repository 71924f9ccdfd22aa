"""The batches of a backfill: selection of their rows, and checks of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.catalog.copies import taking_back
from tenantkit.migrations.operations.steps import report_progress, step
from tenantkit.migrations.operations.targets import Target
from tenantkit.migrations.operations.termination import find_left
from tenantkit.migrations.operations.updates import RowsUpdate
from tenantkit.naming import first_lines

if TYPE_CHECKING:
    from alembic.operations import Operations

_WINDOW = 1_024
"""Number of pages that one statement searches, in all partitions together, so that it is short."""
_MAX_PLACES = 100_000
"""Maximum number of rows whose places are kept in memory."""


@dataclass(slots=True)
class Batches:
    """One backfill in progress."""

    operations: Operations
    table_name: str
    size: int
    pause: float
    required: str | None
    target: Target
    update: RowsUpdate
    done: int = 0
    percent: int = 0

    def look_ahead(self) -> None:
        """Raise, before any row is set, if one of them would be set again."""
        pages, parts = self.target.pages(self._connection)
        types = self.target.columns(self._connection)
        width = max(1, _WINDOW // parts)
        for first in range(0, max(pages, 1), width):
            with taking_back(self._connection):
                window = first, first + width
                row = find_left(self._connection, self.update, types, self.target.key, window)
            if row is not None:
                raise ConfigurationError(self._would_not_end(row))

    def run(self) -> None:
        """Set all remaining rows.

        First those of a few pages at a time, then all others that one statement finds: if all of these could be set
        where they were found, none remained at that moment. Rows that were added since do not count.
        """
        self._go_through()
        while not (self._set_found() or self._set_locked()):
            pass

    def _go_through(self) -> None:
        """Set the rows from the first page to the last; other sessions may add pages meanwhile."""
        first = 0
        pages, parts = self.target.pages(self._connection)
        width = max(1, _WINDOW // parts)
        while first + width < pages:
            places = self._connection.execute(self.update.places(pages=(first, first + width))).scalars().all()
            first += width
            self._set(places, 100 * first // pages)
            if first + width >= pages:
                pages, _ = self.target.pages(self._connection)

    def _set_found(self) -> bool:
        """Set the rows that one statement finds; return whether none remains."""
        places = self._connection.execute(self.update.places(limit=_MAX_PLACES)).scalars().all()
        moved = self._set(places, 100)
        return not moved and len(places) < _MAX_PLACES

    def _set_locked(self) -> bool:
        """Lock and set a batch of rows, so that none moves in between; return whether it is the last."""
        return self._set_batch(None) < self.size

    def _set(self, places: Sequence[str], percent: int) -> bool:
        """Set the rows at *places*; return whether some had moved or were set already."""
        batches = [places[start : start + self.size] for start in range(0, len(places), self.size)]
        moved = False
        before = self.percent
        for place, batch in enumerate(batches, 1):
            self.percent = before + (percent - before) * place // len(batches)
            moved |= self._set_batch(batch) < len({*batch})
        if percent > self.percent:
            self.percent = percent
            self._report_progress()
        return moved

    def _set_batch(self, places: Sequence[str] | None) -> int:
        """Set the rows at *places*, or the first that are found, in a transaction; return their number."""
        if self.done:
            sleep(self.pause)
        connection = self._connection
        with step(self.operations):
            limit = self.size if places is None else None
            rows = sorted({*connection.execute(self.update.lock(places, limit=limit)).scalars()})
            if rows:
                self._require_set(rows, connection.execute(self.update.set(rows)).scalars().all())
        if rows:
            self.done += len(rows)
            self._report_progress()
        return len(rows)

    def _require_set(self, rows: Sequence[str], places: Sequence[str]) -> None:
        """Raise, which rolls the batch back, if a row was not set, or would be set again at its new place."""
        name, connection = self.target.name, self._connection
        if len(places) < len(rows):
            raise ConfigurationError(
                f"The backfill of {name} cannot set all rows: an update of {len(rows)} rows left out "
                f"{len(rows) - len(places)}{self._by_triggers}. Disable it in the revision, or exclude such rows by "
                "where=."
            )
        if self.target.triggers:
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
            if len(connection.execute(self.update.at(places)).all()) < len(places):
                raise ConfigurationError(
                    f"The backfill of {name} cannot tell whether rows keep their values: they are changed again after "
                    f"they were set{self._by_triggers}. Disable it in the revision."
                )
        left = connection.execute(self.update.left(places, self.target.key)).one_or_none()
        if left is not None:
            raise ConfigurationError(self._would_not_end(left))

    def _would_not_end(self, row: Row[Any]) -> str:
        key = " and ".join(f"{name} = {value!r}" for name, value in zip(self.target.key, row, strict=False))
        such_as = f", such as that with {key}" if key else ""
        if self.required is not None:
            return (
                f"{self.required} may not be NULL, but value= is NULL for some rows of {self.target.name}"
                f"{such_as}{self._or_triggers}. Let it have a value for each row, for example by sa.func.coalesce()."
            )
        return (
            f"The backfill of {self.target.name} would not end: where= still holds for rows that were set{such_as}"
            f"{self._or_triggers}, so it does not select the remaining rows. Use a condition on what values= changes, "
            "such as 'x IS NULL', and exclude rows that keep such a value."
        )

    @property
    def _by_triggers(self) -> str:
        return f" by a trigger ({first_lines(self.target.triggers)})" if self.target.triggers else ""

    @property
    def _or_triggers(self) -> str:
        return f" (or is made so by a trigger: {first_lines(self.target.triggers)})" if self.target.triggers else ""

    @property
    def _connection(self) -> Connection:
        return self.operations.get_bind()

    def _report_progress(self) -> None:
        report_progress(self.operations, f"backfill of {self.table_name}", self.done, self.percent)
