"""The rule about tables whose rows are gone through while others wait."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from tenantkit.lint.rules.locks import Lock, locked
from tenantkit.lint.rules.problem import Problem
from tenantkit.lint.sql import NAME, Name, parse_name
from tenantkit.migrations.authoring.widening import is_stored_alike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql import Statement

_CHANGES_ROWS = re.compile(
    rf"(?:^|[()] )(?:update (?:only )?|delete from (?:only )?|merge into (?:only )?)(?P<table>{NAME})"  # noqa: S608 - a pattern
)
_COPIES_ROWS = re.compile(rf"^insert into (?P<table>{NAME})\b.*\bselect\b.*\bfrom (?P<source>{NAME})")
_FEW = re.compile(r"\bwhere (?:[\w\"]+\.)?id (?:=|in\b)")
"""A condition that finds rows by their key."""
_CHECKS = re.compile(
    rf"^add constraint (?P<name>{NAME}) (?:check \( (?P<checked>{NAME}) is not null \)|not null (?P<column>{NAME}))"
    r"(?P<later> not valid)?"
)
_VALIDATES = re.compile(rf"^validate constraint ({NAME})")
_FOREIGN_KEY = re.compile(rf"^add (?:constraint {NAME} )?foreign key \( [^)]* \) references ({NAME})")


def rows_under_lock(revision: Revision) -> Iterator[Problem]:
    """TK009: a table is written again, or its rows are changed or checked, while others wait for it."""
    held: dict[str, tuple[Lock, int]] = {}
    known = _Known()
    for step, statement in revision.all_statements():
        if step.in_autocommit_block:
            held.clear()
        yield from _while_held(revision, step, statement, held)
        widens = partial(is_stored_alike, step.existing_type)
        for each in locked(statement, widens, partial(known.has, revision)):
            if each.table.name in revision.created:
                continue
            if each.work is not None and not _is_told_otherwise(revision, statement):
                yield Problem(
                    step.lines,
                    f"This {each.work} while {each.lock.forbids} of {each.table.name} wait. {each.advice}.",
                )
            if not step.in_autocommit_block:
                before = held.get(each.table.name)
                if before is None or before[0] < each.lock:
                    held[each.table.name] = (each.lock, step.lines[0])
        known.learn(statement)


def _while_held(
    revision: Revision, step: Step, statement: Statement, held: dict[str, tuple[Lock, int]]
) -> Iterator[Problem]:
    """Yield what takes long for many rows while locks of statements before are held."""
    for table in _gone_through(statement, [*held]):
        lock, line = held[table]
        yield Problem(
            step.lines,
            f"This goes through the rows of {_named(statement) or table} while {lock.forbids} of {table} wait: the "
            f"lock of line {line} is held until the revision is committed. "
            "Do it in a revision of its own, a large table with op.backfill().",
        )
        return
    altered = statement.altered_table
    if altered is not None and altered.name in held:
        lock, line = held[altered.name]
        for action in statement.actions:
            if (found := _VALIDATES.match(action)) and found[1] not in _keys_to_shared(revision):
                yield Problem(
                    step.lines,
                    f"{found[1]} is checked for every row while {lock.forbids} of {altered.name} wait: the lock of "
                    f"line {line} is held until the revision is committed. Validate it in a revision of its own.",
                )


def _gone_through(statement: Statement, held: list[str]) -> Iterator[str]:
    """Yield the locked tables that wait for what *statement* does to rows."""
    text = statement.text
    if found := _CHANGES_ROWS.search(text):
        table = parse_name(found["table"]).name
        if table in held and not _FEW.search(text):
            yield table
        elif " where " not in text and not text.startswith("merge"):
            yield from held
    elif found := _COPIES_ROWS.match(text):
        yield from (each for each in (parse_name(found[name]).name for name in ("table", "source")) if each in held)


def _named(statement: Statement) -> str | None:
    found = _CHANGES_ROWS.search(statement.text)
    return parse_name(found["table"]).name if found else None


def _is_told_otherwise(revision: Revision, statement: Statement) -> bool:
    """Return whether TK003 is about it."""
    return revision.scope == "tenant" and any(
        revision.schemas.is_shared(parse_name(found[1]))
        for action in statement.actions
        if (found := _FOREIGN_KEY.match(action))
    )


def _keys_to_shared(revision: Revision) -> set[str]:
    """Return the keys to shared tables that the revision adds, which TK003 is about."""
    return {
        action.split(" ")[2]
        for _, statement in revision.all_statements()
        if _is_told_otherwise(revision, statement)
        for action in statement.actions
        if action.startswith("add constraint ")
    }


class _Known:
    """Columns of which a validated check says that they are not NULL, so that PostgreSQL need not look."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], str] = {}
        self._columns: set[tuple[str, str]] = set()

    def learn(self, statement: Statement) -> None:
        """Take in what a statement checks."""
        table = statement.altered_table
        if table is None:
            return
        for action in statement.actions:
            if found := _CHECKS.match(action):
                column = found["checked"] or found["column"]
                if found["later"]:
                    self._waiting[table.name, found["name"]] = column
                else:
                    self._columns.add((table.name, column))
            elif (found := _VALIDATES.match(action)) and (table.name, found[1]) in self._waiting:
                self._columns.add((table.name, self._waiting[table.name, found[1]]))

    def has(self, revision: Revision, table: Name, column: str) -> bool:
        """Return whether a column is known, from *revision* so far or from those before it."""
        if (table.name, column) not in self._columns:
            for statement in revision.earlier():
                self.learn(statement)
        return (table.name, column) in self._columns
