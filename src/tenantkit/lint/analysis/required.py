"""Columns that are NOT NULL after a series of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.lint.sql.actions import Column, Constraint
from tenantkit.lint.sql.tree import name_of, untag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantkit.lint.sql.actions import Action
    from tenantkit.lint.sql.statement import Statement


class RequiredColumns(dict[tuple[str, str], bool]):
    """Whether a column is NOT NULL, by its table and its name, without schemas; without columns that are not named."""

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> RequiredColumns:
        """Return the columns of tables that *statements* create and alter."""
        required = cls()
        for statement in statements:
            required.learn(statement)
        return required

    def learn(self, statement: Statement) -> None:
        """Add the columns of a statement."""
        if statement.kind == "CreateStmt" and statement.creates is not None:
            for kind, fields in map(untag, statement.node.get("tableElts", ())):
                if kind == "ColumnDef":
                    self._add(statement.creates.name, Column(fields))
                elif kind == "Constraint":
                    self._constrain(statement.creates.name, Constraint(fields))
        elif statement.kind == "DropStmt":
            dropped = {name.name for each in statement.node["objects"] if (name := name_of(each)) is not None}
            for key in [key for key in self if key[0] in dropped]:
                del self[key]
        elif statement.altered_table is not None:
            for action in statement.actions:
                self.learn_action(statement.altered_table.name, action)

    def learn_action(self, table: str, action: Action) -> None:
        """Add the columns of an action of ALTER TABLE."""
        key = (table, action.name)
        match action.kind:
            case "AddColumn":
                self._add(table, action.column)
            case "SetNotNull" | "AddIdentity":
                self[key] = True
            case "DropNotNull":
                self[key] = False
            case "DropColumn":
                self.pop(key, None)
            case "RenameColumn":
                self[table, action.new_name] = self.pop(key, False)
            case "RenameTable":
                for _, column in [key for key in self if key[0] == table]:
                    self[action.new_name, column] = self.pop((table, column))
            case _ if action.constraint is not None:
                self._constrain(table, action.constraint)
            case _:
                pass

    def _add(self, table: str, column: Column) -> None:
        self.setdefault((table, column.name), column.has("NOTNULL", "PRIMARY") or column.is_numbered)

    def _constrain(self, table: str, constraint: Constraint) -> None:
        if constraint.kind == "PRIMARY":
            self.update({(table, name): True for name in constraint.columns})
