"""Primary keys of tables after a series of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.lint.sql.actions import Column, Constraint
from tenantkit.lint.sql.tree import name_of, untag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantkit.lint.sql.statement import Statement


class PrimaryKeys(dict[str, frozenset[str]]):
    """The columns of the primary key that each table was created with, by its name without a schema."""

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> PrimaryKeys:
        """Return the keys of tables that *statements* create, unless a later one may remove them."""
        keys = cls()
        for statement in statements:
            if (
                statement.kind == "CreateStmt"
                and statement.creates is not None
                and (key := frozenset(_key_of(statement)))
            ):
                keys[statement.creates.name] = key
            else:
                keys.forget(statement)
        return keys

    def forget(self, statement: Statement) -> None:
        """Remove the keys that a statement may remove or rename."""
        if statement.kind == "DropStmt":
            for name in map(name_of, statement.node["objects"]):
                self.pop(name.name if name is not None else "", None)
        elif statement.altered_table is not None:
            table = statement.altered_table.name
            for action in statement.actions:
                is_of_key = action.kind in {"DropColumn", "RenameColumn"} and action.name in self.get(table, ())
                if is_of_key or action.kind in {"DropConstraint", "RenameTable"}:
                    self.pop(table, None)

    def are_within(self, table: str, columns: Iterable[str]) -> bool:
        """Return whether *columns* include the key of a table, so that no two rows have the same values."""
        key = self.get(table, frozenset[str]())
        return bool(key) and key <= {*columns}


def _key_of(statement: Statement) -> Iterable[str]:
    for kind, fields in map(untag, statement.node.get("tableElts", ())):
        if kind == "ColumnDef" and Column(fields).has("PRIMARY"):
            yield Column(fields).name
        elif kind == "Constraint" and Constraint(fields).kind == "PRIMARY":
            yield from Constraint(fields).columns
