"""TK009: a table is rewritten, or its rows are changed or checked, while other sessions wait for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.heirs import inherited
from tenantkit.lint.analysis.locks import Lock, Locked, locked
from tenantkit.lint.analysis.relations import Relations
from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.lint.sql.expressions import columns, not_null_column
from tenantkit.lint.sql.tree import Name, Node, find, name_of, parts, untag, walk
from tenantkit.migrations.authoring.widening import is_stored_alike

if TYPE_CHECKING:
    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.actions import Constraint
    from tenantkit.lint.sql.statement import Statement

_CHANGING = ("DeleteStmt", "MergeStmt", "UpdateStmt")
_SCANNING = (*_CHANGING, "InsertStmt")


def rows_under_lock(revision: Revision) -> Iterator[Problem]:
    """Find work that takes long for many rows under a lock of the same statement, or of one before it."""
    known = _Known()
    relations = cache(lambda: Relations.of(revision.earlier()))
    held = _Held(relations)
    for step, statement in revision.all_statements():
        if step.in_autocommit_block:
            held.clear()
        yield from _while_held(revision, step, statement, held)
        widens = partial(is_stored_alike, step.existing_type)
        locks = [
            each
            for each in locked(statement, widens, partial(known.has, revision), relations)
            if each.table.name not in revision.created
        ]
        for each in locks:
            if each.work is not None and not _is_key_to_shared(revision, each.key):
                yield Problem(
                    step.lines,
                    f"This {each.work} while {each.lock.forbids} of {each.table.name} wait. {each.advice}.",
                )
        if locks and not step.in_autocommit_block:
            held.add(statement, locks, step.lines[0])
        known.learn(statement)


class _Held:
    """The locks of the statements so far."""

    def __init__(self, relations: Callable[[], Relations]) -> None:
        self._relations = relations
        self._statements: list[tuple[Statement, list[Locked], int]] = []

    def clear(self) -> None:
        self._statements.clear()

    def add(self, statement: Statement, locks: list[Locked], line: int) -> None:
        self._statements.append((statement, locks, line))

    def tables(self) -> dict[str, tuple[Lock, int]]:
        """Return the strongest lock on each table, with the line of the statement that takes it first."""
        held: dict[str, tuple[Lock, int]] = {}
        for statement, locks, line in self._statements:
            for each in (*locks, *inherited(statement, locks, self._relations)):
                before = held.get(each.table.name)
                if before is None or before[0] < each.lock:
                    held[each.table.name] = (each.lock, line)
        return held


def _while_held(revision: Revision, step: Step, statement: Statement, locks: _Held) -> Iterator[Problem]:
    """Yield work that takes long for many rows under the locks of earlier statements."""
    validated = [
        each.name
        for each in statement.actions
        if each.kind == "ValidateConstraint" and each.name not in _keys_to_shared(revision)
    ]
    held = locks.tables() if validated or any(find({statement.kind: statement.node}, *_SCANNING)) else {}
    for named, table in _gone_through(statement, held):
        lock, line = held[table]
        yield Problem(
            step.lines,
            f"This scans the rows of {named} while {lock.forbids} of {table} wait: the "
            f"lock of line {line} is held until the revision is committed. "
            "Do it in a revision of its own, a large table with op.backfill().",
        )
        return
    altered = statement.altered_table
    if altered is not None and altered.name in held:
        lock, line = held[altered.name]
        for name in validated:
            yield Problem(
                step.lines,
                f"{name} is checked for every row while {lock.forbids} of {altered.name} wait: the lock of "
                f"line {line} is held until the revision is committed. Validate it in a revision of its own.",
            )


def _gone_through(statement: Statement, held: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the tables that *statement* scans, each with a table that stays locked meanwhile."""
    for change in find({statement.kind: statement.node}, *_CHANGING):
        table = name_of(change["relation"])
        assert table is not None  # noqa: S101 - the grammar requires one
        where = change.get("whereClause")
        if table.name in held and not _finds_by_key(where):
            yield table.name, table.name
        elif where is None and "mergeWhenClauses" not in change:
            yield from ((table.name, each) for each in held)
    for copy in find({statement.kind: statement.node}, "InsertStmt"):
        sources = [node["relname"] for node in walk(copy.get("selectStmt")) if "relname" in node]
        tables = [copy["relation"]["relname"], *sources] if sources else ()
        yield from ((each, each) for each in tables if each in held)


def _finds_by_key(where: Node | None) -> bool:
    """Return whether a condition finds rows by values of their key."""
    kind, fields = untag(where)
    match kind, fields:
        case "BoolExpr", {"boolop": "AND_EXPR", "args": conditions}:
            return any(map(_finds_by_key, conditions))
        case "A_Expr", {"kind": "AEXPR_OP" | "AEXPR_IN" | "AEXPR_OP_ANY", "lexpr": key, "rexpr": value}:
            is_key = "ColumnRef" in key and [*columns(key)] == ["id"]
            return is_key and parts(fields["name"]) == ("=",) and not [*columns(value)]
        case _:
            return False


def _is_key_to_shared(revision: Revision, key: Constraint | None) -> bool:
    """Return whether a constraint is a key that TK003 is about."""
    return revision.scope == "tenant" and key is not None and revision.schemas.is_shared(key.target)


def _keys_to_shared(revision: Revision) -> set[str | None]:
    """Return the keys to shared tables that the revision adds, which TK003 is about."""
    return {
        key.name
        for _, statement in revision.all_statements()
        for action in statement.actions
        for key in action.foreign_keys
        if _is_key_to_shared(revision, key)
    }


class _Known:
    """Columns that a validated check makes NOT NULL, so that PostgreSQL does not scan the table for NULL."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str | None], str] = {}
        self._columns: set[tuple[str, str]] = set()

    def learn(self, statement: Statement) -> None:
        """Add the columns that a statement checks."""
        table = statement.altered_table
        if table is None:
            return
        for action in statement.actions:
            check = action.constraint
            if check is not None and (column := not_null_column(check.expression)) is not None:
                if check.is_not_valid:
                    self._waiting[table.name, check.name] = column
                else:
                    self._columns.add((table.name, column))
            elif action.kind == "ValidateConstraint" and (table.name, action.name) in self._waiting:
                self._columns.add((table.name, self._waiting[table.name, action.name]))

    def has(self, revision: Revision, table: Name, column: str) -> bool:
        """Return whether a check in *revision*, or in one before it, makes a column NOT NULL."""
        if (table.name, column) not in self._columns:
            for statement in revision.earlier():
                self.learn(statement)
        return (table.name, column) in self._columns


RULE = Rule("TK009", "rows are scanned while other sessions wait", rows_under_lock)
