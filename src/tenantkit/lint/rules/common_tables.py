"""TK012: a step that is refused for tables that tenants share.

Steps that change or read rows are executed once for each tenant, under its policy; all others once, without a tenant.
At the end, each table must have the tenant column in its keys, the policy and the trigger. Operations of Alembic do
that by themselves; text does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.lint.sql.texts import TENANT_SCHEMA
from tenantkit.lint.sql.tree import Name, Node, find, name_of, parts, walk

if TYPE_CHECKING:
    from tenantkit.isolation.tenant_column import TenantColumn
    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.actions import Action, Constraint
    from tenantkit.lint.sql.statement import Statement

_WRITES = ("DeleteStmt", "InsertStmt", "MergeStmt", "UpdateStmt")
_ROWS = (*_WRITES, "SelectStmt")
_READS = (*_ROWS, "CreateTableAsStmt")
_USING = frozenset({*_ROWS, "CallStmt", "CopyStmt", "DoStmt", "ExecuteStmt", "ExplainStmt"})
"""Statements before which a migration requires that each table is divided among tenants."""
_OURS = "tenantkit"
"""The name of the policy and of the trigger of each common table."""
_OPENING = {
    "DisableRowSecurity": "EnableRowSecurity",
    "NoForceRowSecurity": "ForceRowSecurity",
    "DisableTrig": "EnableTrig",
    "DisableTrigAll": "EnableTrigAll",
    "DisableTrigUser": "EnableTrigUser",
}
"""Actions that open a table, and those that close it again."""


def refused(revision: Revision) -> Iterator[Problem]:
    """Find the steps that a migration of common tables refuses."""
    column = revision.schemas.column
    if revision.scope == "tenant" and column is not None:
        finder = _Finder(revision, column)
        found = [(step, message) for step in revision.steps for message in dict.fromkeys(finder.problems(step))]
        found += ((step, "it opens the table to all tenants; leave it out") for step in finder.opened.values())
        for step, message in found:
            yield Problem(step.lines, f"Tables that tenants share refuse this: {message}.")


@dataclass(frozen=True)
class _Finder:
    revision: Revision
    column: TenantColumn
    opened: dict[tuple[str, str], Step] = field(default_factory=dict[tuple[str, str], "Step"])
    """The steps that have opened tables, each by the table and the action that closes it again."""

    def problems(self, step: Step) -> Iterator[str]:
        """Yield the problems of a step; the steps of a revision must be given in order."""
        if self.opened and step.statements and all(each.kind in _USING for each in step.statements):
            yield f"it may use rows, while {next(iter(self.opened))[0]} is open to all tenants; close that before"
        yield from self._of_rows(step)
        for statement in self._executed[id(step)]:
            yield from self._of_structure(statement, is_text=step.construct in {None, "text"})
            self._note_opening(step, statement)

    @cached_property
    def _executed(self) -> dict[int, list[Statement]]:
        """The statements of each step, also in the bodies that it executes."""
        found: dict[int, list[Statement]] = {id(step): [] for step in self.revision.steps}
        for step, statement in self.revision.all_statements():
            found[id(step)].append(statement)
        return found

    def _note_opening(self, step: Step, statement: Statement) -> None:
        table = statement.altered_table
        if table is None or not self._is_common(table):
            return
        for action in statement.actions:
            self.opened.pop((table.name, action.kind), None)
            if action.kind in _OPENING and (action.kind != "DisableTrig" or action.name == _OURS):
                self.opened[table.name, _OPENING[action.kind]] = step

    def _of_rows(self, step: Step) -> Iterator[str]:
        if step.by_long_change:
            yield from self._of_long_change(step)
            return
        of_rows = [each for each in step.statements if each.kind in _ROWS and self._uses_rows(each)]
        if of_rows and any(each.kind not in _ROWS for each in step.statements):
            yield "it changes or reads rows for each tenant, and tables once; make a step of each statement"
        if any(each.kind == "CreateTableAsStmt" and self._uses_rows(each) for each in self._executed[id(step)]):
            yield "it reads rows, and has no tenant; fill the table by a step of its own"
        if any(self._sets_sequence(each) for each in of_rows):
            yield "it sets a sequence from rows, which all tenants share; leave it out: its numbers are unique already"
        if self.column.is_declared and not all(map(self._inserts_from_rows, self._inserts(of_rows))):
            yield (
                "it writes rows that do not depend on a tenant's own, which tenants that are created later would not "
                "get; write them in seed="
            )

    def _sets_sequence(self, statement: Statement) -> bool:
        calls = find({statement.kind: statement.node}, "FuncCall")
        return any(parts(each["funcname"])[-1:] == ("setval",) for each in calls)

    def _inserts(self, statements: Iterable[Statement]) -> Iterator[Node]:
        for statement in statements:
            yield from find({statement.kind: statement.node}, "InsertStmt")

    def _of_long_change(self, step: Step) -> Iterator[str]:
        """Yield what is refused of tenantkit's own operations, which work while the tables are used."""
        for statement in step.statements:
            if self._uses_rows(statement):
                yield "a backfill works in portions of all rows; write it as an UPDATE by op.execute()"
            if any(each.kind == "ValidateConstraint" and each.name in self._foreign_keys for each in statement.actions):
                yield "a foreign key is validated while the tables are used; use op.create_foreign_key()"

    @cached_property
    def _foreign_keys(self) -> set[str | None]:
        """The names of the foreign keys to common tables that the revision adds."""
        actions = (action for _, statement in self.revision.all_statements() for action in statement.actions)
        return {key.name for action in actions for key in action.foreign_keys if self._is_common(key.target)}

    def _uses_rows(self, statement: Statement) -> bool:
        return statement.kind in _READS and any(self._tables({statement.kind: statement.node}))

    def _inserts_from_rows(self, insert: Node) -> bool:
        return any(self._tables([insert.get("selectStmt"), insert.get("withClause")]))

    def _tables(self, value: Any) -> Iterator[Name]:
        """Yield the common tables that *value*, a statement or a part of one, reads or changes."""
        called = {each["ctename"] for each in walk(value) if "ctename" in each}
        created = {name_of(each["rel"]) for each in walk(value) if "rel" in each}
        for node in walk(value):
            name = name_of(node) if "relname" in node else None
            if name is not None and name not in created and self._is_common(name) and name.name not in called:
                yield name

    def _is_common(self, name: Name | None) -> bool:
        return (
            name is not None
            and name.schema in {None, TENANT_SCHEMA}
            and not name.name.startswith("pg_")
            and name.name not in self._temporary
            and not self.revision.schemas.is_shared(name)
        )

    @cached_property
    def _temporary(self) -> set[str]:
        nodes = (node for _, statement in self.revision.all_statements() for node in walk(statement.node))
        return {node["relname"] for node in nodes if node.get("relpersistence") == "t"}

    def _of_structure(self, statement: Statement, *, is_text: bool) -> Iterator[str]:
        table = statement.altered_table
        if any(node.get("relpersistence") == "t" for node in walk(statement.node)) and statement.creates is not None:
            yield "it makes a temporary table, which no policy divides among tenants; use WITH"
        if is_text and statement.creates is not None and self._creates_open_table(statement):
            yield "it creates a table without the tenant column and the policy; use op.create_table()"
        if statement.kind == "IndexStmt" and is_text and statement.node.get("unique"):
            yield from self._of_key(_columns_of_index(statement.node))
        for constraint in find({statement.kind: statement.node}, "Constraint"):
            if constraint["contype"] == "CONSTR_EXCLUSION" and not is_text:
                yield "it has an EXCLUDE constraint; leave that out"
        for action in statement.actions if self._is_common(table) else ():
            yield from self._of_action(action, is_text=is_text)
        yield from self._of_policy(statement)

    def _creates_open_table(self, statement: Statement) -> bool:
        is_table = statement.kind in {"CreateStmt", "CreateTableAsStmt", "CreateForeignTableStmt", "SelectStmt"}
        return is_table and self._is_common(statement.creates) and not self._has_policy(statement.creates)

    def _has_policy(self, table: Name | None) -> bool:
        """Return whether the revision creates the policy of *table* itself."""
        return table is not None and any(
            statement.kind == "CreatePolicyStmt"
            and statement.node["policy_name"] == _OURS
            and statement.node["table"]["relname"] == table.name
            for _, statement in self.revision.all_statements()
        )

    def _of_action(self, action: Action, *, is_text: bool) -> Iterator[str]:
        if action.kind in {"DropColumn", "DropNotNull"} and action.name == self.column.name and is_text:
            yield "it opens the tenant column; leave it out"
        elif is_text:
            constraints = action.column.constraints if action.kind == "AddColumn" else [action.constraint]
            for each in constraints:
                if each is not None:
                    yield from self._of_constraint(action, each)

    def _of_constraint(self, action: Action, constraint: Constraint) -> Iterator[str]:
        own = constraint.columns or ((action.name,) if action.kind == "AddColumn" else ())
        match constraint.kind:
            case "PRIMARY" | "UNIQUE" if own:
                yield from self._of_key(own)
            case "EXCLUSION":
                yield from self._of_key(tuple(each["name"] for each in find(constraint.node, "IndexElem")))
            case "FOREIGN" if self._is_common(constraint.target):
                if self.column.name not in own:
                    yield "its foreign key reaches rows of all tenants; use op.create_foreign_key()"
                elif not constraint.is_not_valid:
                    yield "its rows are checked without a tenant; use op.create_foreign_key()"
            case _:
                pass

    def _of_key(self, columns: tuple[str, ...]) -> Iterator[str]:
        if self.column.name not in columns:
            yield (
                f"its values would be unique among all tenants; use op.create_unique_constraint() or "
                f"op.create_index(), or add {self.column.name} to its columns"
            )

    def _of_policy(self, statement: Statement) -> Iterator[str]:
        node = statement.node
        match statement.kind:
            case "CreatePolicyStmt" if node["policy_name"] != _OURS and self._is_common(name_of(node["table"])):
                yield "a further policy lets more rows through; leave it out"
            case "AlterPolicyStmt" if node["policy_name"] == _OURS:
                yield "it changes the policy; leave it out"
            case "DropStmt" if node["removeType"] in {"OBJECT_POLICY", "OBJECT_TRIGGER"}:
                if any(parts(each)[-1] == _OURS for each in node["objects"]):
                    yield "it opens the table to all tenants; leave it out"
            case _:
                pass


def _columns_of_index(node: Node) -> tuple[str, ...]:
    """Return the columns of an index, without those that it only includes."""
    return tuple(each["name"] for each in find(node.get("indexParams"), "IndexElem") if "name" in each)


RULE = Rule("TK012", "tables that tenants share refuse the step", refused)
