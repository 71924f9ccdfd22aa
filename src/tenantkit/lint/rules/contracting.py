"""The rule about phases: what takes away, or forbids, what the code of before a deployment uses and writes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tenantkit.lint.rules.problem import Problem
from tenantkit.lint.sql import NAME, NAMES, parse_name
from tenantkit.migrations.authoring.widening import takes_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql import Statement

_COLUMN = rf"(?:column )?(?:if (?:not )?exists )?({NAME})"
_CONSTRAINT = rf"^add (?:constraint {NAME} )?"
_ADDS = re.compile(rf"^add (?!(?:constraint|check|unique|primary|foreign|exclude|not)\b){_COLUMN} (.*)")
_GIVES_DEFAULT = re.compile(rf"^alter {_COLUMN} set default (?!null\b)")
_DROPS_DEFAULT = re.compile(rf"^alter {_COLUMN} (?:drop (?:default|identity)|set default null)\b")
_DROPS_CONSTRAINT = re.compile(rf"^drop constraint (?:if exists )?({NAME})")
_NAMED_CHECK = re.compile(rf"^add constraint ({NAME}) check\b")
_SETS_NOT_NULL = re.compile(rf"^alter {_COLUMN} set not null")
_RENAMES = re.compile(rf"^rename (?:column )?({NAME}) to ({NAME})")
_RENAMES_TABLE = re.compile(rf"^rename to ({NAME})")
_HAS_VALUE = re.compile(r"\bdefault (?!null\b)|\bgenerated\b|\b(?:small|big)?serial\b|\bserial[248]\b")
_FORBIDS_NULL = re.compile(r"\bnot null\b|\bprimary key\b")
_PLAIN_DEFAULT = re.compile(r"\bdefault (?!null\b|nextval|gen_random|uuid|random)")

_USED = "relies on it"
_WRITTEN = "may write what it forbids"
_SAME = "forbids two rows with the same values"

_OF_COLUMNS = {
    rf"^drop (?!constraint\b){_COLUMN}": "drops a column",
    rf"^rename (?!constraint\b|to\b)(?:column )?({NAME}) to\b": "renames what code calls by its name",
    rf"^alter {_COLUMN} (?:set data )?type\b": "changes a column's type",
    rf"^alter {_COLUMN} drop (?:default|identity|expression)": "drops a default",
}
"""Actions of ALTER TABLE that take away a column as it was, which stands in their first group."""
_OF_TABLES = {
    r"^rename to\b": "renames what code calls by its name",
    r"^set schema\b": "moves a table",
    r"^detach partition\b": "takes away the rows of a partition",
}
_FORBIDDING = {
    rf"^alter {_COLUMN} (?:add|set) generated always": "forbids to write a column",
    r"^(?:enable|force) row level security\b": "hides and forbids rows for which there is no policy",
}
_STATEMENTS = {
    r"^drop (?!index\b|policy\b|statistics\b|rule\b)": "drops what code uses",
    r"^truncate\b": "empties a table",
    rf"^delete from (?:only )?{NAME}$": "empties a table",  # noqa: S608 - a pattern
    r"^alter (?:type|domain|view|materialized view|sequence|function|procedure) .*\brename (?!constraint\b)": (
        "renames what code calls by its name"
    ),
    r"^alter type .* (?:drop|alter) attribute\b": "changes a type",
    r"^revoke\b": "takes rights away",
}
_FORBIDDING_STATEMENTS = {
    r"^alter domain .* (?:add|set not null)\b": "forbids values of a domain",
    r"^create policy .*\bas restrictive\b": "forbids rows",
    r"^create (?:or replace )?rule .*\bdo instead\b": "has something else done to rows",
}
_DROPS = re.compile(
    r"^drop (table|materialized view|foreign table|view|sequence|type|domain|function|procedure|routine|aggregate"
    rf"|trigger|schema|\w+) (?:concurrently )?(?:if exists )?({NAMES})"
)
_MAKES_TRIGGER = re.compile(
    rf"^create (?:or replace )?(?:constraint )?trigger ({NAME}) (before|after|instead of) .*? on (?:only )?({NAME}) .*"
    rf"\bexecute (?:function|procedure) ({NAME})"
)
_OF_NEW = re.compile(rf"\bupdate of ({NAMES}) on\b")
_RAISES = re.compile(r"\braise (?!notice\b|warning\b|info\b|log\b|debug\b|;)|\bassert ")
_UNIQUE_INDEX = re.compile(rf"^create unique index .*? on (?:only )?({NAME})(?: using \w+)? \( (.*)")
_KEYED = re.compile(
    rf"{_CONSTRAINT}(unique|foreign key|primary key)(?: nulls not distinct| nulls distinct)? \( ([^)]*) \)"
)
_CHECK = re.compile(rf"{_CONSTRAINT}(?:check \( (.*) \)|not null ({NAME}))")
_OTHER_CONSTRAINT = re.compile(rf"{_CONSTRAINT}(?:unique|primary key|exclude|foreign key)\b")
_ASKS_FOR_NULL = re.compile(r"\bis (?:not )?null\b|\bis (?:not )?distinct\b|coalesce|nonnulls|num_nulls")
_KEYWORDS = frozenset(
    """
    all and any array as between case collate current_date current_timestamp distinct else end false from ilike in
    interval is isnull like not notnull null or similar some symmetric then to true when
    """.split()  # noqa: SIM905 - as a list it would take a page
)


def contracts_while_expanding(revision: Revision) -> Iterator[Problem]:
    """TK006: a revision for before the deployment takes away, or forbids, what the running code uses."""
    if revision.phase != "expand":
        return
    made = _Made(revision)
    for step, statement in revision.all_statements():
        for what, why in (*_of_statement(made, statement), *_of_table(made, step, statement)):
            or_else = ", or leave the phase out if no running code writes it" if why == _WRITTEN else ""
            yield Problem(
                step.lines,
                f"This {what}, but the revision's phase is expand: the code of before the deployment still runs "
                f"and {why}. Move it to a revision with phase = 'contract'{or_else}.",
            )
        made.learn(statement)


@dataclass
class _Made:
    """What a revision has made so far, which no running code knows."""

    revision: Revision
    tables: set[str] = field(default_factory=set[str])
    columns: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    """New columns of tables that were there, and whether a row that does not mention them gets a value."""
    dropped: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Constraints, by table, that the revision has dropped."""
    required: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Those of them that must not be NULL."""

    def learn(self, statement: Statement) -> None:
        """Take in what a statement makes."""
        if statement.creates is not None:
            self.tables.add(statement.creates.name)
        if statement.altered_table is not None:
            for action in statement.actions:
                self._learn(statement.altered_table.name, action)

    def _learn(self, table: str, action: str) -> None:
        """Take in an action of ALTER TABLE."""
        if found := _ADDS.match(action):
            self.columns.setdefault((table, found[1]), bool(_HAS_VALUE.search(found[2])))
            if _FORBIDS_NULL.search(found[2]) or f"check ( {found[1]} is not null )" in found[2]:
                self.required.add((table, found[1]))
        elif found := _DROPS_CONSTRAINT.match(action):
            self.dropped.add((table, found[1]))
        elif found := _SETS_NOT_NULL.match(action):
            self.required.add((table, found[1]))
        elif (found := _GIVES_DEFAULT.match(action)) and (table, found[1]) in self.columns:
            self.columns[table, found[1]] = True
        elif (found := _DROPS_DEFAULT.match(action)) and (table, found[1]) in self.columns:
            self.columns[table, found[1]] = False
        elif (found := _RENAMES.match(action)) and (table, found[1]) in self.columns:
            self.columns[table, found[2]] = self.columns.pop((table, found[1]))
        elif (found := _RENAMES_TABLE.match(action)) and table in self.tables:
            self.tables.add(found[1])

    def has(self, table: str, column: str) -> bool:
        """Return whether a column is new."""
        return (table, column) in self.columns

    def is_empty(self, table: str, column: str) -> bool:
        """Return whether a column is new, and NULL in the rows of code that does not know it."""
        return self.columns.get((table, column)) is False

    def replaces(self, kind: str, name: str) -> bool:
        """Return whether what is dropped was made by the revision, or is made again by it."""
        if kind in {"table", "foreign table"}:
            return name in self.tables
        triggers = {
            found[1] for _, each in self.revision.all_statements() if (found := _MAKES_TRIGGER.match(each.text))
        }
        return name in self.revision.created or (kind == "trigger" and name in triggers)

    def widens(self, table: str, statement: Statement, action: str) -> bool:
        """Return whether an action adds a check again that the revision has dropped, and only allows more literals."""
        found = _NAMED_CHECK.match(action)
        if found is None or (table, found[1]) not in self.dropped:
            return False
        before = [each for each in map(partial(_check, found[1]), self.revision.earlier()) if each is not None]
        now = _check(found[1], statement)
        return bool(before) and now is not None and before[-1][0] == now[0] and before[-1][1] <= now[1]

    def body_of(self, function: str) -> str:
        """Return the body that the revision, or one before it, gives a function; nothing if that is not known."""
        own = [each.body for _, each in self.revision.all_statements() if _creates(each, function)]
        return (
            own[-1]
            if own
            else "".join([each.body for each in self.revision.earlier() if _creates(each, function)][-1:])
        )


def _check(name: str, statement: Statement) -> tuple[str, frozenset[str]] | None:
    """Return a check that a statement adds: its words without literals and commas, and its literals."""
    words: list[str] = []
    literals: set[str] = set()
    depth = 0
    tokens = statement.tokens
    starts = [
        at
        for at in range(len(tokens) - 2)
        if [each.text for each in tokens[at : at + 3 : 2]] == ["constraint", "check"]
    ]
    start = next((at for at in starts if parse_name(tokens[at + 1].text).name == name), None)
    for token in tokens[start + 3 :] if start is not None else ():
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.kind == "literal":
            literals.add(token.text)
        elif token.text != ",":
            words.append(token.text)
        if depth == 0:
            break
    return (" ".join(words), frozenset(literals)) if words else None


def _creates(statement: Statement, name: str) -> bool:
    return statement.creates is not None and statement.creates.name == name and bool(statement.body)


def _of_statement(made: _Made, statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield what a statement other than ALTER TABLE takes away or forbids, and why that matters."""
    text = statement.text
    if found := _DROPS.match(text):
        if all(made.replaces(found[1], parse_name(each).name) for each in found[2].split(" , ")):
            return
    elif any(name.name in made.tables for name in statement.changes):
        return
    yield from ((what, _USED) for pattern, what in _STATEMENTS.items() if re.match(pattern, text))
    yield from ((what, _WRITTEN) for pattern, what in _FORBIDDING_STATEMENTS.items() if re.match(pattern, text))
    if found := _UNIQUE_INDEX.match(text):
        table = parse_name(found[1]).name
        columns = [each.split(" ")[0] for each in found[2].split(" , ")]
        if "nulls not distinct" in text or not any(made.is_empty(table, column) for column in columns):
            yield _SAME, _WRITTEN
    if (found := _MAKES_TRIGGER.match(text)) and found[2] != "instead of":
        table, body = parse_name(found[3]).name, made.body_of(parse_name(found[4]).name)
        only = _OF_NEW.search(text)
        if only is not None and all(made.has(table, column) for column in only[1].split(" , ")):
            return
        if _RAISES.search(body):
            yield "adds a trigger that refuses rows", _WRITTEN
        elif found[2] == "before" and re.search(r"\breturn null\b", body):
            yield "adds a trigger that drops rows", _WRITTEN


def _of_table(made: _Made, step: Step, statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield what an ALTER TABLE takes away or forbids, and why that matters."""
    if statement.altered_table is None or statement.altered_table.name in made.tables:
        return
    table = statement.altered_table.name
    for action in statement.actions:
        for pattern, what in _OF_COLUMNS.items():
            if found := re.match(pattern, action):
                if not (made.has(table, found[1]) or ("type" in what and _widens(step, action))):
                    yield what, _USED
                elif _DROPS_DEFAULT.match(action) and (table, found[1]) in made.required:
                    yield "leaves a new column that must be given", _USED
                break
        else:
            yield from ((what, _USED) for pattern, what in _OF_TABLES.items() if re.match(pattern, action))
            yield from (
                (what, _WRITTEN)
                for pattern, what in _FORBIDDING.items()
                if (found := re.match(pattern, action)) and not (found.lastindex and made.has(table, found[1]))
            )
            if (forbidden := _forbids(made, table, action)) and not made.widens(table, statement, action):
                yield forbidden, _WRITTEN


def _forbids(made: _Made, table: str, action: str) -> str | None:
    """Return which values an action forbids that code writes which does not know the revision, if it does."""
    if found := _SETS_NOT_NULL.match(action):
        return None if made.columns.get((table, found[1])) else "forbids NULL"
    if found := _ADDS.match(action):
        return _forbids_by_column(found[1], found[2])
    if found := _CHECK.match(action):
        return _forbids_by_check(made, table, found[1] or f"{found[2]} is not null")
    if found := _KEYED.match(action):
        columns = found[2].split(" , ")
        may_be_null = found[1] != "primary key" and "nulls not distinct" not in action
        if may_be_null and any(made.is_empty(table, column) for column in columns):
            return None
        return "forbids values that refer to nothing" if found[1] == "foreign key" else _SAME
    return "forbids values" if _OTHER_CONSTRAINT.match(action) else None


def _forbids_by_column(column: str, definition: str) -> str | None:
    has_value = bool(_HAS_VALUE.search(definition))
    if not has_value and (_FORBIDS_NULL.search(definition) or f"check ( {column} is not null )" in definition):
        return "adds a column that must be given"
    is_same = _PLAIN_DEFAULT.search(definition) and re.search(r"\bunique\b", definition)
    return "adds a unique column that is the same in all new rows" if is_same else None


def _forbids_by_check(made: _Made, table: str, condition: str) -> str | None:
    """Return what a CHECK forbids; nothing if it holds for rows in which the new columns have not been set."""
    words = re.sub(rf":: {NAME}|{NAME} \(|''|\b\d\S*", " ", condition).split()
    columns = {each.rpartition(".")[2] for each in words if re.fullmatch(NAME, each)} - _KEYWORDS
    values = {made.columns.get((table, column)) for column in columns}
    if values == {True}:
        return None  # they have their defaults
    is_strict = _ASKS_FOR_NULL.search(condition)
    if is_strict is None and (values == {False} or (False in values and " and " not in condition)):
        return None  # NULL is no violation
    if is_strict is not None and is_strict[0] == "is null" and None not in values:
        return None
    return "forbids NULL" if " is not null" in condition else "forbids values"


def _widens(step: Step, action: str) -> bool:
    """Return whether a new type takes all that the old one takes, so that no code notices."""
    found = re.search(r"\btype (.*?)(?: using .*)?$", action)
    return found is not None and takes_all(step.existing_type, found[1])
