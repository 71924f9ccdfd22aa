"""Loading of the rows of an `Origin` into the tables of a new tenant, which has no sessions yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from tenantkit.exceptions import BackupError
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.naming import first_lines
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.retry import after_conflicts
from tenantkit.transfer import catalog, set_aside
from tenantkit.transfer.catalog import Found, qualified
from tenantkit.transfer.copying import copy_in
from tenantkit.transfer.manifest import Table
from tenantkit.transfer.origin import Origin
from tenantkit.transfer.set_aside import SetAside

MANY_ROWS = 20_000
"""Number of rows from which the indexes of a table are built after they are loaded."""

_LITERAL = r"(?:'(?:[^']|'')*'|E'(?:[^'\\]|''|\\\\)*'|-?[0-9.]+(?:e[+-]?[0-9]+)?|NULL|MINVALUE|MAXVALUE|true|false)"
_LIST = rf"\({_LITERAL}(?:, {_LITERAL})*\)"
_BOUND = re.compile(
    rf"FOR VALUES (?:IN {_LIST}|FROM {_LIST} TO {_LIST}|WITH \(modulus [0-9]+, remainder [0-9]+\))|DEFAULT",
    re.IGNORECASE,
)
"""The bounds of partitions without expressions: nothing else that a file says is executed as it is."""


@dataclass(slots=True)
class Loader:
    """Loads the rows of *origin* into the tables at *target*, in one transaction or in several."""

    origin: Origin
    target: MigrationTarget
    column: TenantColumn | None
    """The tenant column that the models declare, which the origin does not have."""
    value: str | None
    """The tenant's value of it."""
    progress: Callable[[str, int, int], object] | None
    _keys_out: list[SetAside] = field(default_factory=list[SetAside])
    taken: dict[str, int] = field(default_factory=dict[str, int])
    """The number of rows of each table that were loaded."""

    @property
    def _schema(self) -> str:
        return self.target.schema

    def remove_keys_to_others(self, connection: Connection) -> None:
        """Take off the foreign keys to shared tables. Until the transaction ends, others cannot read these."""
        catalog.pin(connection)
        self._keys_out = set_aside.constraints(connection, self._schema, leads_out=True)
        set_aside.remove(connection, self._keys_out)

    def restore_unchecked_keys_to_others(self, connection: Connection) -> None:
        """Put them back for new rows; the lock, for which others wait, is held for a moment."""
        self._enter(connection)
        set_aside.restore(connection, [each.unchecked() for each in self._keys_out])

    def check_keys_to_others(self, connection: Connection) -> None:
        """Check the rows, with locks for which others need not wait."""
        self._enter(connection)
        for each in self._keys_out:
            if each.unchecked() != each:
                validate = each.remove.replace(" DROP CONSTRAINT ", " VALIDATE CONSTRAINT ", 1)
                with self._checking():
                    catalog.execute(connection, validate)

    def load(self, connection: Connection) -> None:
        """Load all rows in the current transaction, in place of those that revisions have written.

        :raises BackupError: if the tables are others than the origin's, the origin has changed, or a row breaks a
            constraint.
        """
        catalog.pin(connection)
        found = self._make_partitions(connection)
        self._require_same(connection, found)
        large = [table for table, rows in self.origin.rows.items() if rows >= MANY_ROWS]
        aside = [
            *set_aside.delays(connection, self._schema),
            *chain(*set_aside.triggers(connection, self._schema).values()),
            *set_aside.row_security(connection, self._schema),
            *set_aside.constraints(connection, self._schema, leads_out=False),
            *set_aside.indexes(connection, self._schema, large),
        ]
        if self.column is not None:
            aside += set_aside.defaults(connection, self._schema, self.column, self.value)
        self._enter(connection)
        set_aside.remove(connection, aside)
        if found:
            tables = ", ".join(qualified(self._schema, name) for name in found)
            catalog.execute(connection, f"TRUNCATE {tables}")
        self._copy(connection, found)
        # Indexes first, foreign keys after them.
        with self._checking():
            set_aside.restore(connection, reversed(aside))
        for name in large:  # else, the first queries would be planned without statistics
            catalog.execute(connection, f"ANALYZE {qualified(self._schema, name)}")
        self._set_sequences(connection)

    def load_in_steps(self, connection: Connection) -> None:
        """Load all rows in several transactions, none of which locks shared tables for long; raises as `load` does."""
        for step in (
            self.remove_keys_to_others,
            self.load,
            self.restore_unchecked_keys_to_others,
            self.check_keys_to_others,
            self.refresh_views,
        ):
            in_transaction(connection, step)

    def refresh_views(self, connection: Connection) -> None:
        """Fill the materialized views that had rows."""
        self._enter(connection)
        for view in catalog.read_filled_views(connection, self._schema):
            if view in self.origin.filled_views:
                statement = f"REFRESH MATERIALIZED VIEW {qualified(self._schema, view)}"
                catalog.execute(connection, statement)

    def leave(self, connection: Connection) -> None:
        """Give the rest of the transaction the settings that it had before."""
        catalog.unpin(connection)

    def _enter(self, connection: Connection) -> None:
        """Set the path of the tenant: functions in generated columns and CHECKs may need it."""
        catalog.pin(connection)
        catalog.execute(connection, f"SET LOCAL search_path = {self.target.path}")

    def _copy(self, connection: Connection, found: dict[str, Found]) -> None:
        total = len(self.origin.manifest.tables)
        with closing(self.origin.tables()) as tables:
            for number, (table, pieces) in enumerate(tables, 1):
                if self.progress is not None:
                    self.progress(table.name, number, total)
                freeze = "" if found[table.name].is_partitioned else " WITH (FREEZE)"
                self.taken[table.name] = self._copy_table(connection, table, freeze, pieces)

    def _copy_table(
        self, connection: Connection, table: Table, freeze: str, pieces: Iterator[bytes | bytearray]
    ) -> int:
        if (first := next(pieces, None)) is None:
            return 0
        sent = 0

        def counted() -> Iterator[bytes | bytearray]:
            nonlocal sent
            for piece in chain([first], pieces):
                sent += piece.count(b"\n")
                yield piece

        columns = catalog.names(column.name for column in table.columns)
        into = qualified(self._schema, table.name) + (f" ({columns})" if columns else "")
        try:
            taken = copy_in(connection, f"{into} FROM STDIN{freeze}", counted())
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            # Without its text, which has values of a row.
            raise self._error(f"the table {table.name!r} does not take the rows ({_broken(error)})") from None
        if taken != sent:
            raise self._error(f"the table {table.name!r} has not taken all rows")
        return taken

    @contextmanager
    def _checking(self) -> Generator[None]:
        """Turn the error of a constraint that rows break into one without their values."""
        try:
            yield
        except IntegrityError as error:
            cause: Any = error.orig
            raise self._error(f"rows of the table {cause.diag.table_name!r} break {_broken(cause)}") from None

    def _set_sequences(self, connection: Connection) -> None:
        catalog.set_sequences(connection, self._schema, self.origin.sequences)

    def _make_partitions(self, connection: Connection) -> dict[str, Found]:
        """Make the partitions that the tables lack, since applications make some as time goes by; return all tables."""
        found = self._read(connection)
        for table in self.origin.manifest.tables:
            if table.name in found or table.parent not in found or table.bound is None:
                continue
            if not _BOUND.fullmatch(table.bound):
                raise self._error(f"the partition {table.name!r} has bounds that cannot be made again")
            name, parent = qualified(self._schema, table.name), qualified(self._schema, table.parent)
            statement = f"CREATE TABLE {name} PARTITION OF {parent} {table.bound}"
            catalog.execute(connection, statement)
        return self._read(connection)

    def _read(self, connection: Connection) -> dict[str, Found]:
        return catalog.read_tables(connection, self._schema, without=self.column.name if self.column else None)

    def _require_same(self, connection: Connection, found: dict[str, Found]) -> None:
        differences = [*_differences(self.origin.manifest.tables, found)]
        sequences = {each.name for each in catalog.read_sequences(connection, self._schema)}
        differences += [
            f"the sequence {each.name} is missing" for each in self.origin.sequences if each.name not in sequences
        ]
        if differences:
            raise self._error(
                f"its tables are not those that this code makes at the same revision: {first_lines(differences)}"
            )

    def _error(self, reason: str) -> BackupError:
        return BackupError(self.origin.subject, reason, self.origin.advice)


def _broken(error: psycopg.Error) -> str:
    """Return the constraint or column that a row breaks, without its values."""
    named = error.diag.constraint_name or error.diag.column_name
    return f"{named}, {error.sqlstate}" if named else str(error.sqlstate)


def _differences(wanted: tuple[Table, ...], found: dict[str, Found]) -> Iterator[str]:
    """Yield the differences of the tables *found* from those of an origin."""
    for table in wanted:
        if table.name not in found:
            yield f"the table {table.name} is missing"
            continue
        there = {column.name: column.type for column in found[table.name].table.columns}
        theirs = {column.name: column.type for column in table.columns}
        for name in theirs.keys() | there.keys():
            if theirs.get(name) != there.get(name):
                told = f"has the type {there[name]}" if name in there else "is missing"
                yield f"the column {table.name}.{name} {told}, and in the rows to load it {_told(theirs.get(name))}"
    known = {table.name for table in wanted}
    for name, each in found.items():
        if name not in known and each.table.parent is None and not each.is_partitioned:
            yield f"the table {name} is not among those to load"


def _told(type_: str | None) -> str:
    return "is missing" if type_ is None else f"has {type_}"


def in_transaction(connection: Connection, step: Callable[[Connection], None]) -> None:
    """Execute *step* in a transaction of its own, which is repeated after a lock conflict."""

    def run() -> None:
        with connection.begin():
            limit_lock_waits(connection)
            step(connection)

    after_conflicts()(run)
