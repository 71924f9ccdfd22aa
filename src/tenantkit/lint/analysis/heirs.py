"""Locks of a statement on the partitions of a table, and on the tables that inherit from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum

from tenantkit.lint.analysis.locks import Lock, Locked
from tenantkit.lint.analysis.relations import Relations
from tenantkit.lint.sql.actions import Action
from tenantkit.lint.sql.statement import Statement
from tenantkit.lint.sql.tree import Name, Node, name_of, walk


class Reach(IntEnum):
    """The tables below another one that a statement locks with it."""

    NONE = 0
    PARTITIONS = 1
    ALL = 2
    """Also the tables that inherit from it."""


_OF_ONE_TABLE = frozenset(
    """
    AddInherit AttachPartition ChangeOwner ClusterOn DetachPartition DisableRowSecurity DisableRule DropCluster
    DropInherit EnableAlwaysRule EnableReplicaRule EnableRowSecurity EnableRule ForceRowSecurity NoForceRowSecurity
    RenameTable ReplicaIdentity SetAccessMethod SetLogged SetSchema SetTableSpace SetUnLogged
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Actions of ALTER TABLE that do not concern the tables below."""
_STATEMENTS = {
    **dict.fromkeys(("AlterPolicyStmt", "CreatePolicyStmt", "RefreshMatViewStmt", "RuleStmt"), Reach.NONE),
    **dict.fromkeys(("LockStmt", "TruncateStmt"), Reach.ALL),
}
_DROPS = {"OBJECT_POLICY": Reach.NONE, "OBJECT_TABLE": Reach.ALL}
"""The reach of other statements than ALTER TABLE, and of DROP, if it is not that of partitions."""


def inherited(statement: Statement, locks: Iterable[Locked], relations: Callable[[], Relations]) -> Iterator[Locked]:
    """Yield the locks of *statement* on tables below those that it locks, and those of keys that a partition gets.

    :param locks: the statement's locks.
    :param relations: returns what earlier statements have made of tables; it may take a while.
    """
    for each in locks:
        if reach := _reach(statement, each.table):
            below = relations().below(each.table.name, with_heirs=reach is Reach.ALL)
            yield from (Locked(Name(None, table), each.lock) for table in below)
    if (parent := _changed_parent(statement)) is not None:
        known = relations()
        tables = known.with_parents(parent.name)
        is_removed = any(action.kind == "DetachPartition" for action in statement.actions)
        for key in known.keys:
            if key.table in tables:
                yield Locked(Name(None, key.target), Lock.WRITES)
            if key.target in tables:
                yield Locked(Name(None, key.table), Lock.ALL if is_removed else Lock.WRITES)


def _changed_parent(statement: Statement) -> Name | None:
    """Return the table that gets or loses a partition."""
    changes = any(each.partition is not None and not each.is_concurrent for each in statement.actions)
    return statement.altered_table if changes else statement.partitioned


def _reach(statement: Statement, table: Name) -> Reach:
    """Return which tables below *table* a statement locks like it."""
    altered = statement.altered_table
    if altered is not None and table == altered:
        return max(_reach_of(action, statement) for action in statement.actions)
    if table == statement.partitioned or (altered is None and _names_only(statement.node, table)):
        return Reach.NONE
    if statement.kind == "DropStmt":
        return _DROPS.get(statement.node["removeType"], Reach.PARTITIONS)
    if statement.kind == "CreateTrigStmt" and not statement.node.get("row"):
        return Reach.NONE
    return _STATEMENTS.get(statement.kind, Reach.PARTITIONS)


def _reach_of(action: Action, statement: Statement) -> Reach:
    if action.kind == "DropColumn":
        return Reach.ALL
    if action.kind in _OF_ONE_TABLE or not statement.node["relation"].get("inh"):
        return Reach.NONE
    return Reach.PARTITIONS if "Trig" in action.kind else Reach.ALL


def _names_only(node: Node, table: Name) -> bool:
    """Return whether a statement names a table with ONLY."""
    return any(name_of(each) == table and not each.get("inh") for each in walk(node) if "relname" in each)
