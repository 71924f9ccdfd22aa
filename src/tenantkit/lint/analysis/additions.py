"""Objects that a revision has created so far, which no running code uses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from tenantkit.lint.analysis import outcomes
from tenantkit.lint.analysis.keys import PrimaryKeys
from tenantkit.lint.analysis.required import RequiredColumns
from tenantkit.lint.sql.expressions import columns, constant, functions, spell_type
from tenantkit.lint.sql.tree import Node, find, parts, untag

if TYPE_CHECKING:
    from tenantkit.lint.analysis.outcomes import Outcomes
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.actions import Action, Column, Constraint
    from tenantkit.lint.sql.statement import Statement

_UNIQUE = frozenset({"gen_random_uuid", "nextval", "uuid_generate_v1", "uuid_generate_v4", "uuidv4", "uuidv7"})
"""Functions, also of extensions, whose values differ in all rows."""
_UNCUT = frozenset({"int4", "int8", "numeric", "text", "uuid", "varchar"})
"""Types to which these values can be cast and still differ."""
_TEXTS = frozenset({"text", "varchar"})


class Value(Enum):
    """The value of a column in rows of code that does not know the revision."""

    WRITTEN = auto()
    """Written by that code, or computed from what it writes."""
    FILLED = auto()
    """Computed from what that code writes, and never NULL."""
    NULL = auto()
    SAME = auto()
    DISTINCT = auto()


@dataclass
class Additions:
    """Tables and columns that a revision has created, and objects that it has dropped."""

    revision: Revision
    tables: set[str] = field(default_factory=set[str])
    columns: dict[tuple[str, str], Value] = field(default_factory=dict[tuple[str, str], Value])
    """New columns of existing tables."""
    defaults: dict[tuple[str, str], Node] = field(default_factory=dict[tuple[str, str], "Node"])
    """The constants that are defaults of new columns."""
    dropped: set[tuple[str, str | None]] = field(default_factory=set[tuple[str, str | None]])
    """Constraints, by table, that the revision has dropped."""
    required: RequiredColumns = field(default_factory=RequiredColumns)
    """Columns that the revision has created or altered."""
    _accepting: list[Callable[[], str | None]] = field(default_factory=list["Callable[[], str | None]"])

    @cached_property
    def _required_before(self) -> RequiredColumns:
        return RequiredColumns.of(self.revision.earlier())

    @cached_property
    def _keys(self) -> PrimaryKeys:
        keys = PrimaryKeys.of(self.revision.earlier())
        for _, statement in self.revision.all_statements():
            keys.forget(statement)
        return keys

    def learn_action(self, table: str, action: Action) -> None:
        """Add the objects of an action of ALTER TABLE; an action is learned once."""
        key = (table, action.name)
        self.required.learn_action(table, action)
        self._learn_default(key, action)
        match action.kind:
            case "AddColumn":
                self.columns.setdefault(key, self._new_value(table, action.column))
                if action.column.forbids_null:
                    self.required[key] = True  # also by a CHECK
            case "DropColumn":
                self.columns.pop(key, None)
            case "DropExpression" | "SetExpression" if key in self.columns:
                self.columns[key] = Value.WRITTEN
            case "DropConstraint":
                self.dropped.add(key)
            case "RenameColumn" if key in self.columns:
                self.columns[table, action.new_name] = self.columns.pop(key)
            case "RenameTable" if table in self.tables:
                self.tables.add(action.new_name)
            case _ if key in self.columns and (action.gives_default or action.takes_default):
                self.columns[key] = _by_default(action.node["def"]) if action.gives_default else Value.NULL
            case _:
                pass

    def _learn_default(self, key: tuple[str, str], action: Action) -> None:
        if action.kind == "AddColumn" or action.gives_default or action.takes_default:
            default = action.column.default if action.kind == "AddColumn" else action.node.get("def")
            self.defaults.pop(key, None)
            if default is not None and "A_Const" in default:
                self.defaults[key] = default

    def has(self, table: str, column: str) -> bool:
        """Return whether a column is new."""
        return (table, column) in self.columns

    def value_of(self, table: str, column: str) -> Value:
        """Return the value of a column, new or not."""
        return self.columns.get((table, column), Value.WRITTEN)

    def may_be_null(self, table: str, column: str) -> bool:
        """Return whether a column, new or not, may be NULL."""
        value = self.value_of(table, column)
        if value is not Value.WRITTEN:
            return value is Value.NULL
        key = (table, column)
        return not (self.required[key] if key in self.required else self._required_before.get(key, False))

    def are_distinct(self, table: str, names: Iterable[str]) -> bool:
        """Return whether columns differ in all rows because they include a primary key of an earlier revision."""
        return self._keys.are_within(table, names)

    def outcomes_of(self, table: str, expression: Node) -> Outcomes:
        """Return the possible results of an expression in rows of code that does not know the revision."""

        def of_column(name: str) -> Outcomes:
            if self.value_of(table, name) is Value.NULL:
                return outcomes.NULL
            return outcomes.ANY if self.may_be_null(table, name) else outcomes.NOT_NULL

        try:
            return outcomes.outcomes(self._with_defaults(table, expression), of_column)
        except RecursionError:  # it is nested more deeply than Python's stack
            return outcomes.ANY

    def examine(self, constraint: Callable[[], str | None]) -> str | None:
        """Return how a constraint rejects rows of code that does not know the revision; ``None`` if it accepts them.

        :param constraint: returns that, for the values of columns as they are known when it is called.
        """
        forbidden = constraint()
        if forbidden is None:
            self._accepting.append(constraint)
        return forbidden

    def examine_again(self) -> Iterator[str]:
        """Yield how constraints reject such rows that accepted them before a default was changed."""
        accepting, self._accepting = self._accepting, []
        yield from filter(None, map(self.examine, accepting))

    def _with_defaults(self, table: str, value: Any) -> Any:
        """Return an expression with constants in place of new columns of which they are the defaults."""
        match value:
            case {"ColumnRef": _} if (key := (table, next(columns(value), ""))) in self.defaults and self.has(*key):
                return self.defaults[key]
            case dict():
                return {name: self._with_defaults(table, each) for name, each in cast("Node", value).items()}
            case list():
                return [self._with_defaults(table, each) for each in cast("list[Node]", value)]
            case _:
                return value

    def _new_value(self, table: str, column: Column) -> Value:
        for each in column.constraints:
            if each.kind == "GENERATED":
                return self._computed(table, column.type, each.expression or {})
        if column.is_numbered:
            return Value.DISTINCT
        return Value.NULL if column.default is None else _by_default(column.default)

    def _computed(self, table: str, type_: str, expression: Node) -> Value:
        """Return the value of a generated column of a type."""
        while type_ in _TEXTS and next(functions([expression]), "") in {"lower", "upper"}:  # not of a range
            expression = expression["FuncCall"]["args"][0]
        found = self.outcomes_of(table, expression)
        if None in found:
            return Value.NULL if found == outcomes.NULL else Value.WRITTEN
        read = {self.value_of(table, name) for name in columns(expression)}
        return Value.FILLED if read & {Value.WRITTEN, Value.FILLED} else Value.SAME

    def replaces(self, kind: str, name: str) -> bool:
        """Return whether the revision has created the dropped object, or creates it again."""
        if kind in {"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}:
            return name in self.tables
        triggers = {
            each.node["trigname"] for _, each in self.revision.all_statements() if each.kind == "CreateTrigStmt"
        }
        return name in self.revision.created or (kind == "OBJECT_TRIGGER" and name in triggers)

    def has_view_instead(self, table: str) -> bool:
        """Return whether the revision creates a view with the name of a table."""
        views = (each.node["view"] for _, each in self.revision.all_statements() if each.kind == "ViewStmt")
        return any(view["relname"] == table for view in views)

    def widens(self, table: str, check: Constraint) -> bool:
        """Return whether a check replaces one that the revision has dropped, and only allows more values."""
        if check.kind != "CHECK" or (table, check.name) not in self.dropped:
            return False
        before = [
            each["raw_expr"]
            for statement in self.revision.earlier()
            for each in find(statement.node, "Constraint")
            if each.get("conname") == check.name and "raw_expr" in each
        ]
        return bool(before) and _lists_more(check.expression, before[-1])

    def program_of(self, function: str) -> list[Node]:
        """Return the PL/pgSQL of a function that this or an earlier revision creates; nothing if it is not known."""
        own = [each.program for _, each in self.revision.all_statements() if _makes(each, function)]
        return own[-1] if own else self.program_before(function)

    def program_before(self, function: str) -> list[Node]:
        """Return the PL/pgSQL that earlier revisions give a function; nothing if that is not known."""
        return ([each.program for each in self.revision.earlier() if _makes(each, function)] or [[]])[-1]

    def triggers_of(self, function: str) -> tuple[list[Node], list[Node]]:
        """Return the triggers that execute a function: those of the revision, and those of earlier ones."""
        own, earlier = (each for _, each in self.revision.all_statements()), self.revision.earlier()
        return [*_triggers(own, function)], [*_triggers(earlier, function)]


def _triggers(statements: Iterable[Statement], function: str) -> Iterator[Node]:
    for each in statements:
        if each.kind == "CreateTrigStmt" and parts(each.node["funcname"])[-1] == function:
            yield each.node


def _by_default(default: Node) -> Value:
    kind, _ = untag(default)
    while kind == "TypeCast" and spell_type(default["TypeCast"]["typeName"]) in _UNCUT:
        default = default["TypeCast"]["arg"]
        kind, _ = untag(default)
    is_distinct = kind == "FuncCall" and next(functions([default])).rpartition(".")[2] in _UNIQUE
    return Value.DISTINCT if is_distinct else Value.SAME


def _makes(statement: Statement, function: str) -> bool:
    return statement.kind == "CreateFunctionStmt" and parts(statement.node["funcname"])[-1] == function


def _lists_more(now: Any, before: Any) -> bool:
    """Return whether two conditions differ only in lists of values after IN, and the first one has more values."""
    listed: tuple[set[Any], set[Any]] = (set(), set())
    shapes = [json.dumps(_without_lists(each, values)) for each, values in zip((now, before), listed, strict=True)]
    return shapes[0] == shapes[1] and listed[0] >= listed[1]


def _without_lists(value: Any, listed: set[Any]) -> Any:
    """Return a condition without its locations and the values after IN, which are added to *listed*."""
    match value:
        case {"A_Expr": {"kind": "AEXPR_IN" | "AEXPR_OP_ANY", "name": operator, "lexpr": left, "rexpr": right}} if (
            parts(operator) == ("=",) and all(map(_is_constant, _items(right)))
        ):
            listed |= {(json.dumps(_without_lists(left, set())), constant(each)) for each in _items(right)}
            return {"listed": _without_lists(left, listed)}
        case {"BoolExpr": {"boolop": "NOT_EXPR"}}:
            return value
        case dict():
            fields = cast("Node", value)
            return {key: _without_lists(each, listed) for key, each in fields.items() if key != "location"}
        case list():
            return [_without_lists(each, listed) for each in cast("list[Node]", value)]
        case _:
            return value


def _items(value: Node) -> list[Node]:
    return [each for values in find(value, "List", "A_ArrayExpr") for each in values.get("items") or values["elements"]]


def _is_constant(value: Node) -> bool:
    return constant(value) is not None
