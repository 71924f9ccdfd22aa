"""Locks of a statement on tables, and its work while it holds them (PostgreSQL, chapter 13.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from tenantkit.lint.analysis.relations import Relations
from tenantkit.lint.sql.actions import Action, Column, Constraint
from tenantkit.lint.sql.expressions import columns, functions, spell_type
from tenantkit.lint.sql.statement import Statement
from tenantkit.lint.sql.tree import Name, Node, name_of, parts


class Lock(IntEnum):
    """The statements of others that wait for a lock on a table."""

    WRITES = 1
    ALL = 2

    @property
    def forbids(self) -> str:
        """The waiting statements, in words."""
        return "reads and writes" if self is Lock.ALL else "writes"


class Locked(NamedTuple):
    """A table that a statement locks until the transaction ends."""

    table: Name
    lock: Lock
    work: str | None = None
    """The statement's work under the lock that takes long for many rows; ``None`` if there is none."""
    advice: str = ""
    key: Constraint | None = None
    """The foreign key that is checked, if that is the work."""


_REWRITE = "rewrites the table"
_ALTER = "Add a new column, set it with op.backfill() in a revision of its own, and switch to it"
_CONCURRENTLY = "Use op.create_index_concurrently() in a revision of its own"
_NOT_VALID = "Add it with postgresql_not_valid=True, and validate it in a revision of its own"
_CHECK_CONCURRENTLY = (
    "Use op.create_check_constraint_concurrently() with 'IS NOT NULL' in an earlier revision: it spares the check"
)
_ATTACHING = (
    "checks every row unless a validated CHECK says the same as the bounds",
    "Add and validate that in earlier revisions",
)
_DOMAIN = "Add a CHECK with NOT VALID, and validate it in a revision of its own"
_FILL = "Add the column without it, and set it with op.backfill() in a revision of its own"

_STABLE = frozenset(
    """
    age array_to_string btrim char_length chr concat current_database current_schema current_setting date date_part
    date_trunc daterange decode digest encode extract float format format_type hashtext initcap int4range int8range
    json_build_array json_build_object json_object jsonb_build_array jsonb_build_object jsonb_object left length lower
    lpad ltrim make_date make_interval make_time make_timestamp make_timestamptz md5 now numrange overlay
    pg_current_xact_id position quote_literal regexp_replace repeat replace reverse right round row_to_json rpad rtrim
    sha256 split_part statement_timestamp string_to_array strpos substr substring sign timestamp timestamptz timezone
    to_char to_date to_json to_jsonb to_number to_timestamp transaction_timestamp translate trim trunc tsrange tstzrange
    upper
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Functions that are not volatile: as a default of a new column, they are evaluated once."""
_VOLATILE = frozenset(
    "clock_timestamp gen_random_uuid nextval random random_normal timeofday uuidv4 uuidv7".split()  # noqa: SIM905 - shorter
)
"""PostgreSQL's own volatile functions that are used in defaults."""

_MILD = frozenset(
    """
    AttachPartition ClusterOn DetachPartitionFinalize DropCluster ReplaceRelOptions ResetOptions ResetRelOptions
    SetOptions SetRelOptions SetStatistics ValidateConstraint
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Actions of ALTER TABLE under which others can read and write."""
_REWRITES = {
    **dict.fromkeys(("SetAccessMethod", "SetLogged", "SetTableSpace", "SetUnLogged"), "Leave it as it is"),
    "SetExpression": _ALTER,
}
_SHARE_UPDATE_EXCLUSIVE, _EXCLUSIVE = 4, 7
"""Numbers of modes of LOCK in PostgreSQL, from 1, ACCESS SHARE, to 8, ACCESS EXCLUSIVE."""
_STATEMENTS: dict[str, tuple[Lock, str | None, str]] = {
    "AlterPolicyStmt": (Lock.ALL, None, ""),
    "ClusterStmt": (Lock.ALL, _REWRITE, "Leave the order to PostgreSQL"),
    "CreatePolicyStmt": (Lock.ALL, None, ""),
    "CreateTrigStmt": (Lock.WRITES, None, ""),
    "DropStmt": (Lock.ALL, None, ""),
    "IndexStmt": (Lock.WRITES, "builds an index", _CONCURRENTLY),
    "LockStmt": (Lock.ALL, "waits for the rest of the revision", "Lock rows, with SELECT ... FOR UPDATE"),
    "RefreshMatViewStmt": (
        Lock.ALL,
        "recomputes the view",
        "Use REFRESH MATERIALIZED VIEW CONCURRENTLY",
    ),
    "RenameStmt": (Lock.ALL, None, ""),
    "ReindexStmt": (
        Lock.WRITES,
        "rebuilds its indexes",
        "Use REINDEX TABLE CONCURRENTLY in op.get_context().autocommit_block()",
    ),
    "RuleStmt": (Lock.ALL, None, ""),
    "TruncateStmt": (Lock.ALL, None, ""),
    "VacuumStmt": (Lock.ALL, _REWRITE, "Use VACUUM without FULL"),
}
"""Locks of other statements, with their work and advice."""
_CHECKS_DOMAIN = frozenset({"C", "O"})
"""Kinds of ALTER DOMAIN: ADD CONSTRAINT and SET NOT NULL."""
_PARTS = frozenset({"OBJECT_POLICY", "OBJECT_RULE", "OBJECT_TRIGGER"})
"""Kinds of objects with whose tables DROP and RENAME lock; tables have actions, and those of indexes are not known."""
_WIDENABLE = ("numeric", "text", "varchar")


def locked(
    statement: Statement,
    widens: Callable[[str], bool | None],
    is_known: Callable[[Name, str], bool],
    relations: Callable[[], Relations],
) -> Iterator[Locked]:
    """Yield the tables that *statement* locks.

    :param widens: returns whether the values of the old type are valid for a new type; ``None`` if it is not known.
    :param is_known: returns whether a validated check makes a column NOT NULL.
    :param relations: returns what earlier statements have made of tables; it may take a while.
    """
    if (table := statement.altered_table) is not None:
        for action in statement.actions:
            if action.kind not in _MILD and not action.is_concurrent:
                yield _by_action(table, action, widens, is_known)
            if action.partition is not None and not action.is_concurrent:
                work, advice = _ATTACHING if action.kind == "AttachPartition" else (None, "")
                yield Locked(action.partition, Lock.ALL, work, advice)
            if action.kind in {"AlterColumnType", "DropColumn", "DropConstraint"}:
                others = _with_keys(table.name, action, relations())
                yield from (Locked(Name(None, each), Lock.ALL) for each in others - {table.name})
    else:
        yield from _by_statement(statement)
        yield from _by_relations(statement, relations)
    yield from (Locked(target, Lock.WRITES) for target in statement.referred)


def _by_statement(statement: Statement) -> Iterator[Locked]:
    """Yield the tables that a statement other than ALTER TABLE locks."""
    if statement.partitioned is not None:
        yield Locked(statement.partitioned, Lock.ALL)
    if statement.kind in _STATEMENTS and not _is_mild(statement):
        lock, work, advice = _of_kind(statement)
        yield from (Locked(table, lock, work, advice) for table in statement.changes)


def _of_kind(statement: Statement) -> tuple[Lock, str | None, str]:
    lock, work, advice = _STATEMENTS[statement.kind]
    is_weaker = statement.kind == "LockStmt" and statement.node["mode"] <= _EXCLUSIVE
    return Lock.WRITES if is_weaker else lock, work, advice


def _with_keys(table: str, action: Action, relations: Relations) -> set[str]:
    """Return the tables of the foreign keys that an action of ALTER TABLE drops, or makes again."""
    is_retyped = action.kind == "AlterColumnType"
    own = relations.with_column(table, action.name) if is_retyped else relations.dropped_by(table, action)
    theirs = relations.depending_on(table, action) if is_retyped or _is_cascading(action.node) else ()
    return {*(key.target for key in own), *(key.table for key in theirs)}


def _by_relations(statement: Statement, relations: Callable[[], Relations]) -> Iterator[Locked]:
    """Yield the tables that a statement locks because of what belongs to them."""
    node = statement.node
    match statement.kind:
        case "DropStmt" if not node.get("concurrent"):
            dropped = {name.name for each in node["objects"] if (name := name_of(each)) is not None}
            yield from (Locked(Name(None, each), Lock.ALL) for each in _by_drop(node, dropped, relations))
        case "TruncateStmt" if _is_cascading(node):
            named = {name.name for name in statement.changes}
            yield from (Locked(Name(None, each), Lock.ALL) for each in relations().with_dependents(named) - named)
        case "AlterDomainStmt" if node["subtype"] in _CHECKS_DOMAIN and not _is_not_valid(node):
            using = (table for type_, table in relations().types if type_ == parts(node["typeName"])[-1])
            yield from (Locked(Name(None, each), Lock.WRITES, "checks every row", _DOMAIN) for each in using)
        case "LockStmt" if not _is_mild(statement):
            views = (relations().views.get(name.name, ()) for name in statement.changes)
            yield from (Locked(Name(None, each), *_of_kind(statement)) for read in views for each in read)
        case "ReindexStmt" if node["kind"] == "REINDEX_OBJECT_INDEX" and "concurrently" not in statement.options:
            found = relations().indexes.get(node["relation"]["relname"])
            yield from (Locked(Name(None, each), *_of_kind(statement)) for each in (found or ())[:1])
        case _:
            pass


def _by_drop(node: Node, dropped: set[str], relations: Callable[[], Relations]) -> set[str]:
    """Return the tables that DROP locks, other than those whose trigger, rule or policy it drops."""
    match node["removeType"]:
        case "OBJECT_TABLE":
            known = relations()
            targets = {key.target for key in known.keys if key.table in dropped}
            parents = {parent for parent, child in known.partitions if child in dropped}
            return dropped | targets | parents | (known.cascading_from(dropped) if _is_cascading(node) else set[str]())
        case "OBJECT_INDEX":
            return {table for index, (table, _) in relations().indexes.items() if index in dropped}
        case "OBJECT_DOMAIN" | "OBJECT_TYPE" if _is_cascading(node):
            return {table for type_, table in relations().types if type_ in dropped}
        case "OBJECT_FUNCTION" if _is_cascading(node):
            return {table for function, table in relations().triggers if function in dropped}
        case _:
            return set()


def _is_cascading(node: Node) -> bool:
    return node.get("behavior") == "DROP_CASCADE"


def _is_not_valid(node: Node) -> bool:
    return bool(node.get("def", {}).get("Constraint", {}).get("skip_validation"))


def _is_mild(statement: Statement) -> bool:
    """Return whether others can read and write while a statement runs."""
    node = statement.node
    match statement.kind:
        case "DropStmt":
            return node["removeType"] not in _PARTS
        case "RenameStmt":
            return node["renameType"] not in _PARTS
        case "LockStmt":
            return bool(node["mode"] <= _SHARE_UPDATE_EXCLUSIVE)
        case "ReindexStmt":
            return node["kind"] != "REINDEX_OBJECT_TABLE" or "concurrently" in statement.options
        case "VacuumStmt":
            return "full" not in statement.options
        case _:
            return bool(node.get("concurrent"))


def _by_action(
    table: Name, action: Action, widens: Callable[[str], bool | None], is_known: Callable[[Name, str], bool]
) -> Locked:
    """Return the lock of an action of ALTER TABLE."""
    match action.kind:
        case "SetNotNull":
            work = None if is_known(table, action.name) else "checks every row for NULL"
            return Locked(table, Lock.ALL, work, _CHECK_CONCURRENTLY)
        case "AlterColumnType":
            return _retyping(table, action, widens)
        case "AddColumn":
            return _adding(table, action)
        case kind if kind in _REWRITES:
            return Locked(table, Lock.ALL, _REWRITE, _REWRITES[kind])
        case kind if kind.startswith(("EnableTrig", "EnableAlwaysTrig", "EnableReplicaTrig", "DisableTrig")):
            return Locked(table, Lock.WRITES)
        case _:
            return Locked(table, Lock.ALL) if action.constraint is None else _constraining(table, action.constraint)


def _constraining(table: Name, constraint: Constraint) -> Locked:
    """Return the lock and the work of a new constraint."""
    lock = Lock.WRITES if constraint.kind == "FOREIGN" else Lock.ALL
    if constraint.kind in {"CHECK", "FOREIGN"}:
        key = constraint if constraint.kind == "FOREIGN" else None
        return Locked(table, lock, None if constraint.is_not_valid else "checks every row", _NOT_VALID, key)
    return Locked(table, lock, None if "indexname" in constraint.node else "builds an index", _CONCURRENTLY)


def _retyping(table: Name, action: Action, widens: Callable[[str], bool | None]) -> Locked:
    """Return the lock and the work of a changed type, with or without an expression for its values."""
    column = action.column
    is_alike = widens(column.type) if _takes_as_it_is(column, action.name) else False
    if is_alike:
        return Locked(table, Lock.ALL)
    may_be = is_alike is None and column.type.startswith(_WIDENABLE)
    unless = " unless the column's type is stored alike" if may_be else ""
    return Locked(table, Lock.ALL, f"{_REWRITE}{unless}", _ALTER)


def _takes_as_it_is(column: Column, name: str) -> bool:
    """Return whether the values of a new type are the old ones: without USING, or with a cast that is made anyway."""
    match column.using:
        case None:
            return True
        case {"ColumnRef": _}:
            return [*columns(column.using)] == [name]
        case {"TypeCast": {"arg": {"ColumnRef": _}, "typeName": type_name}}:
            return [*columns(column.using)] == [name] and spell_type(type_name) == column.type
        case _:
            return False


def _adding(table: Name, action: Action) -> Locked:
    """Return the lock and the work of a new column."""
    column = action.column
    if column.is_numbered or column.has("GENERATED"):
        return Locked(table, Lock.ALL, f"{_REWRITE}, with a value in every row", _FILL)
    if called := sorted({*functions(column.default)} - _STABLE):
        name = next((each for each in called if each in _VOLATILE), called[0])
        unless = "" if name in _VOLATILE else " unless it is declared STABLE or IMMUTABLE"
        return Locked(
            table,
            Lock.ALL,
            f"{_REWRITE}, as the default {name}() is evaluated for every row{unless}",
            "Add the column without the default, set the default by op.alter_column(), and the existing rows by "
            "op.backfill() in a revision of its own",
        )
    if column.has("UNIQUE", "PRIMARY"):
        return Locked(table, Lock.ALL, "builds an index", _CONCURRENTLY)
    if column.has("CHECK"):
        return Locked(table, Lock.ALL, "checks every row", _NOT_VALID)
    for key in action.foreign_keys:
        return Locked(table, Lock.ALL, "checks every row", _NOT_VALID, key)
    return Locked(table, Lock.ALL)
