"""Locks that a statement takes on tables, and what it does while it holds them (PostgreSQL, chapter 13.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from tenantkit.lint.sql import NAME, Name, Statement, parse_name


class Lock(IntEnum):
    """What a lock on a table keeps others from."""

    WRITES = 1
    ALL = 2

    @property
    def forbids(self) -> str:
        """What waits, in words."""
        return "reads and writes" if self is Lock.ALL else "writes"


class Locked(NamedTuple):
    """A table that a statement locks until the transaction ends."""

    table: Name
    lock: Lock
    work: str | None = None
    """What the statement does meanwhile that takes long for many rows; nothing if it does not."""
    advice: str = ""


_ALTER = "Add a column of the new kind, set it with op.backfill() in a revision of its own, and change over"
_CONCURRENTLY = "Use op.create_index_concurrently() in a revision of its own"
_NOT_VALID = "Add it with postgresql_not_valid=True, and validate it in a revision of its own"
_CHECK_CONCURRENTLY = (
    "Use op.create_check_constraint_concurrently() with 'IS NOT NULL' in a revision before: then PostgreSQL knows it"
)
_FILL = "Add the column without it, and set it with op.backfill() in a revision of its own"

_STABLE = frozenset(
    """
    age array array_to_string cast char char_length chr clock coalesce concat current_catalog current_database
    current_date current_role current_schema current_setting current_time current_timestamp current_user date date_part
    date_trunc decimal decode digest encode extract float format format_type greatest hashtext int4range int8range
    initcap interval json_build_array json_build_object jsonb_build_array jsonb_build_object jsonb_object json_object
    least left length localtime localtimestamp lower lpad ltrim make_date make_interval make_time make_timestamp
    make_timestamptz md5 now nullif numeric numrange overlay pg_current_xact_id position quote_literal regexp_replace
    repeat replace reverse right round row row_to_json rpad rtrim session_user sha256 split_part statement_timestamp
    string_to_array strpos substr substring sign timestamp timestamptz timezone to_char to_date to_json to_jsonb
    to_number to_timestamp transaction_timestamp translate trim tsrange tstzrange daterange trunc upper user varchar
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Functions that are worked out once for a new column, as they are no more volatile than the statement."""

_CONSTRAINT = r"^add (?:constraint (?P<name>{name}) )?".replace("{name}", NAME)
_ACTIONS: tuple[tuple[str, Lock, str | None, str], ...] = (
    (rf"{_CONSTRAINT}foreign key\b.*\bnot valid$", Lock.WRITES, None, ""),
    (rf"{_CONSTRAINT}foreign key\b", Lock.WRITES, "checks every row", _NOT_VALID),
    (rf"{_CONSTRAINT}(?:check|not null)\b.*\bnot valid(?: no inherit)?$", Lock.ALL, None, ""),
    (rf"{_CONSTRAINT}(?:check|not null)\b", Lock.ALL, "checks every row", _NOT_VALID),
    (rf"{_CONSTRAINT}(?:unique|primary key) using index\b", Lock.ALL, None, ""),
    (rf"{_CONSTRAINT}(?:unique|primary key|exclude)\b", Lock.ALL, "builds an index", _CONCURRENTLY),
    (r"^(?:enable|disable) (?:replica |always )?trigger\b", Lock.WRITES, None, ""),
    (
        r"^set (?:logged|unlogged|tablespace|access method)\b",
        Lock.ALL,
        "writes the whole table again",
        "Leave it as it is",
    ),
    (rf"^alter (?:column )?{NAME} set expression\b", Lock.ALL, "writes the whole table again", _ALTER),
)
"""Actions of ALTER TABLE, the first that matches; those below are looked at besides, and others lock everything."""
_MILD = re.compile(
    rf"^(?:validate constraint|set \(|reset \(|attach partition|detach partition {NAME} (?:concurrently|finalize)"
    rf"|cluster on|set without cluster|alter (?:column )?{NAME} (?:set statistics|set \(|reset \())"
)
"""Actions of ALTER TABLE that let others read and write meanwhile."""
_SETS_NOT_NULL = re.compile(rf"^alter (?:column )?({NAME}) set not null")
_RETYPES = re.compile(rf"^alter (?:column )?({NAME}) (?:set data )?type (.*)")
_ADDS_COLUMN = re.compile(
    rf"^add (?:column )?(?:if not exists )?(?!(?:constraint|check|unique|primary|foreign|exclude|not)\b)({NAME}) (.*)"
)
_DEFAULT = re.compile(
    r"\bdefault (.*?)(?= (?:not null|null|unique|primary key|references|check|constraint|collate)\b|$)"
)
_CALL = re.compile(rf"({NAME}) \(")
_SERIAL = re.compile(
    r"^(?:small|big)?serial\b|^serial[248]\b|\bgenerated (?:always|by default) as identity\b|\bstored$"
)

_MAY_WIDEN = re.compile(r"(?:text|varchar|character varying|numeric|decimal)(?: \(.*\))?$")

_ON = rf".*? on (?:only )?(?P<table>{NAME})"
_TABLE = rf"(?P<table>{NAME})"
_AGAIN = "writes the whole table again"
_LOCKS = "waits for the rest of the revision"
_LOCK_ROWS = "Lock rows, with SELECT ... FOR UPDATE"
_MILD_MODES = "access share|row share|row exclusive|share update exclusive"
_STATEMENTS: tuple[tuple[str, Lock, str | None, str], ...] = (
    (rf"^create (?:unique )?index (?!concurrently\b){_ON}", Lock.WRITES, "builds an index", _CONCURRENTLY),
    (
        rf"^reindex (?:\( [^)]* \) )?table (?!concurrently\b){_TABLE}",
        Lock.WRITES,
        "builds its indexes again",
        "Use REINDEX TABLE CONCURRENTLY in op.get_context().autocommit_block()",
    ),
    (rf"^cluster (?:verbose )?{_TABLE}", Lock.ALL, _AGAIN, "Leave the order to PostgreSQL"),
    (
        rf"^vacuum (?:full|\( [^)]*\bfull\b[^)]* \)) (?:freeze |verbose |analyze )*{_TABLE}",
        Lock.ALL,
        _AGAIN,
        "Use VACUUM without FULL",
    ),
    (
        rf"^refresh materialized view (?!concurrently\b){_TABLE}",
        Lock.ALL,
        "works out the whole view again",
        "Use REFRESH MATERIALIZED VIEW CONCURRENTLY",
    ),
    (
        rf"^lock (?:table )?(?:only )?{_TABLE} in (?:share|share row exclusive|exclusive) mode",
        Lock.WRITES,
        _LOCKS,
        _LOCK_ROWS,
    ),
    (
        rf"^lock (?:table )?(?:only )?{_TABLE}(?! in (?:{_MILD_MODES}))(?: in access exclusive mode)?(?: nowait)?$",
        Lock.ALL,
        _LOCKS,
        _LOCK_ROWS,
    ),
    (rf"^truncate (?:table )?(?:only )?{_TABLE}", Lock.ALL, None, ""),
    (rf"^create (?:or replace )?(?:constraint )?trigger {_ON}", Lock.WRITES, None, ""),
    (rf"^drop trigger {_ON}", Lock.ALL, None, ""),
    (rf"^(?:create|alter|drop) policy {_ON}", Lock.ALL, None, ""),
)


def locked(
    statement: Statement, widens: Callable[[str], bool | None], is_known: Callable[[Name, str], bool]
) -> Iterator[Locked]:
    """Yield what *statement* locks.

    :param widens: tells of a new type whether the old one is stored alike; ``None`` if that is not known.
    :param is_known: tells of a column whether a validated check says that it is not NULL.
    """
    for pattern, lock, work, advice in _STATEMENTS:
        if found := re.match(pattern, statement.text):
            yield Locked(parse_name(found["table"]), lock, work, advice)
            return
    table = statement.altered_table
    if table is None:
        return
    for action in statement.actions:
        if _MILD.match(action):
            continue
        if found := _SETS_NOT_NULL.match(action):
            known = is_known(table, found[1])
            yield Locked(table, Lock.ALL, None if known else "checks every row for NULL", _CHECK_CONCURRENTLY)
        elif found := _RETYPES.match(action):
            yield _retyping(table, found[2], widens)
        elif found := _ADDS_COLUMN.match(action):
            yield _adding(table, found[2])
        else:
            yield next(
                (
                    Locked(table, lock, work, advice)
                    for pattern, lock, work, advice in _ACTIONS
                    if re.match(pattern, action)
                ),
                Locked(table, Lock.ALL),
            )


def _retyping(table: Name, new: str, widens: Callable[[str], bool | None]) -> Locked:
    """Return what a changed type does; *new* is the type, and perhaps an expression that makes it of the old one."""
    is_alike = False if " using " in new else widens(new)
    if is_alike:
        return Locked(table, Lock.ALL)
    unless = " unless the column's type is stored alike" if is_alike is None and _MAY_WIDEN.match(new) else ""
    return Locked(table, Lock.ALL, f"{_AGAIN}{unless}", _ALTER)


def _adding(table: Name, definition: str) -> Locked:
    """Return what adding a column does, by its type and what follows."""
    if _SERIAL.search(definition):
        return Locked(table, Lock.ALL, "writes the whole table again, with a value in every row", _FILL)
    default = _DEFAULT.search(definition)
    if default and (volatile := sorted({*_CALL.findall(default[1])} - _STABLE)):
        return Locked(
            table,
            Lock.ALL,
            f"writes the whole table again, as the default {volatile[0]}() is worked out for every row",
            "Add the column without the default, set the default by op.alter_column(), and the rows that are there by "
            "op.backfill() in a revision of its own",
        )
    has_value = default is not None and default[1] != "null"
    if re.search(r"\b(?:unique|primary key)\b", definition):
        return Locked(table, Lock.ALL, "builds an index", _CONCURRENTLY)
    if re.search(r"\bcheck \(", definition) or (has_value and re.search(r"\breferences\b", definition)):
        return Locked(table, Lock.ALL, "checks every row", _NOT_VALID)
    return Locked(table, Lock.ALL)
