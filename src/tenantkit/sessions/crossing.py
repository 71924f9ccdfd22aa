"""Sessions of tenants outside of the main database: which statements go to the shared tables, and which are refused.

A statement works in one database. Which tables it has is known when it is compiled, not before: a traversal of the
statement misses joined eager loads. So it is refused then, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from weakref import ReferenceType, ref

from sqlalchemy import Connection, MetaData, Sequence, Table, TwoPhaseTransaction, inspect
from sqlalchemy.sql import visitors

from tenantkit.exceptions import CrossDatabaseError
from tenantkit.naming import first_lines

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import RootTransaction

    from tenantkit.tenant import Tenant

CROSSING = "tenantkit_crossing"
"""The execution option of sessions that work in two databases."""

CrossDatabaseWrites = Literal["refuse", "separate"]
"""Whether one transaction of a session writes to a tenant's tables and to shared tables in another database.

``separate`` permits it: the databases commit one after the other, in no certain order, and the second may fail after
the first. ``refuse`` raises `CrossDatabaseError`, unless the session has ``twophase=True``.
"""


@dataclass(frozen=True, slots=True)
class SharedTables:
    """Tells shared tables from tenants' tables, and whether both may be written."""

    metadata: Collection[MetaData | None]
    """Those of the application and of the registry."""
    placeholder: str | None
    writes: CrossDatabaseWrites

    def has(self, named: Any) -> bool:
        """Return whether a table or a sequence is in the main database only."""
        metadata = getattr(named, "metadata", None)
        return metadata is not None and metadata in self.metadata and named.schema != self.placeholder

    def any_in(self, mapper: Any, clause: Any) -> bool:
        """Return whether a statement goes to the main database, by its mapper or its first table."""
        if mapper is not None:
            return any(map(self.has, inspect(mapper).tables))
        if clause is None:
            return False
        elements: Iterable[Any] = visitors.iterate(clause)
        named = filter(lambda each: isinstance(each, (Table, Sequence)), elements)
        return self.has(next(named, None))


@dataclass(slots=True, eq=False)
class Crossing:
    """The way of one session to the shared tables, which are in another database than its tenant's."""

    tables: SharedTables
    tenant: Tenant
    main: Engine | Connection
    may_write_both: bool
    _written: dict[bool, ReferenceType[RootTransaction]] = field(
        default_factory=dict[bool, "ReferenceType[RootTransaction]"]
    )
    """The transactions that have written: that of the main database, by True, and that of the tenant's."""

    def bind_for(self, mapper: Any, arguments: Mapping[str, Any]) -> Engine | Connection | None:
        """Return the main database for a statement with shared tables; ``None`` for any other."""
        return self.main if self.tables.any_in(mapper, arguments.get("clause")) else None

    def is_main(self, connection: Connection) -> bool:
        """Return whether *connection* is to the main database."""
        return connection.engine.pool is self.main.engine.pool

    def check(self, connection: Connection, compiled: Any) -> None:
        """Raise if a statement that is about to be sent on *connection* needs, or changes, the other database too.

        :raises CrossDatabaseError: if so.
        """
        named: Iterable[Any] = getattr(compiled, "named", ())
        shared = [each for each in named if self.tables.has(each)]
        own = [each for each in named if getattr(each, "schema", None) == self.tables.placeholder]
        is_main = self.is_main(connection)
        if shared and own:
            self._refuse(
                f"A statement has {_names(own)}, in the tenant's database, and {_names(shared)}, in the main one. No "
                "statement reaches both: load them one after the other (selectinload(), or two queries)."
            )
        if (shared and not is_main) or (own and is_main):
            self._refuse(
                f"A statement with {_names(shared or own)} was sent to the wrong database. Execute it by the session, "
                "not by a connection."
            )
        if getattr(compiled, "writes", False):
            self._note_write(connection, is_main=is_main)

    def _note_write(self, connection: Connection, *, is_main: bool) -> None:
        transaction: Any = connection.get_transaction()
        other = self._written.get(not is_main)
        has_written = other is not None and (before := other()) is not None and before.is_active
        if has_written and not self.may_write_both and not isinstance(transaction, TwoPhaseTransaction):
            self._refuse(
                "A transaction would write to the tenant's tables and to shared tables, and the two databases cannot "
                "commit together. Commit between the two, make the session with twophase=True, or permit it by "
                "Tenancy(..., cross_database_writes='separate')."
            )
        self._written[is_main] = ref(transaction)

    def _refuse(self, reason: str) -> None:
        raise CrossDatabaseError(self.tenant.key, self.tenant.placement.database, reason)


def _names(named: Iterable[Any]) -> str:
    return first_lines(sorted({each.fullname if isinstance(each, Table) else each.name for each in named}))
