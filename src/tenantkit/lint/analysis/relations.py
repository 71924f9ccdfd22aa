"""What belongs to a table, or to several, after a series of statements: statements about it lock these tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tenantkit.lint.sql.actions import Action, Column, Constraint
from tenantkit.lint.sql.statement import Statement
from tenantkit.lint.sql.tree import Node, name_of, parts, untag, walk


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, with names without schemas."""

    table: str
    name: str
    columns: frozenset[str]
    target: str
    target_columns: frozenset[str]
    """Empty if it refers to the primary key."""


@dataclass
class Relations:
    """The keys, indexes, triggers and types of tables, by names without schemas."""

    keys: list[ForeignKey] = field(default_factory=list[ForeignKey])
    indexes: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict[str, tuple[str, frozenset[str]]])
    """The table of each index, with the columns of a key."""
    triggers: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The functions that triggers call, each with the table."""
    types: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The types of columns, each with the table."""
    primary_keys: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    views: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The tables that each view reads."""
    partitions: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Pairs of a partitioned table and a partition."""
    heirs: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Pairs of a table and another one that inherits from it."""

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> Relations:
        """Return what *statements* create and do not drop."""
        found = cls()
        for statement in statements:
            found.learn(statement)
        return found

    def learn(self, statement: Statement) -> None:
        """Add what a statement creates, and remove what it drops."""
        node = statement.node
        match statement.kind:
            case "CreateStmt" if statement.creates is not None:
                self._learn_table(statement.creates.name, node.get("tableElts", ()))
                pairs = self.heirs if statement.partitioned is None else self.partitions
                pairs |= {
                    (each["RangeVar"]["relname"], statement.creates.name) for each in node.get("inhRelations", ())
                }
            case "IndexStmt" if "idxname" in node:
                self.indexes[node["idxname"]] = node["relation"]["relname"], frozenset()
            case "CreateTrigStmt":
                self.triggers.add((parts(node["funcname"])[-1], node["relation"]["relname"]))
            case "ViewStmt":
                read = {each["relname"] for each in walk(node["query"]) if "relname" in each}
                self.views[node["view"]["relname"]] = {table for each in read for table in self.views.get(each, {each})}
            case "DropStmt" if node["removeType"] == "OBJECT_TABLE":
                self._forget({name.name for each in node["objects"] if (name := name_of(each)) is not None})
            case _ if statement.altered_table is not None:
                for action in statement.actions:
                    self._learn_action(statement.altered_table.name, action)
            case _:
                pass

    def referring_to(self, tables: Iterable[str]) -> set[str]:
        """Return the tables with a foreign key to one of *tables*."""
        return {key.table for key in self.keys if key.target in {*tables}}

    def cascading_from(self, dropped: Iterable[str]) -> set[str]:
        """Return the tables of the foreign keys to one of *dropped*, with the tables that keys to a partition name."""
        tables = {parent for table in dropped for parent in self.with_parents(table)}
        return {each for key in self.keys if key.target in tables for each in (key.table, key.target)}

    def with_dependents(self, tables: Iterable[str]) -> set[str]:
        """Return *tables* with all that refer to one of them, also through others."""
        found = {*tables}
        while more := self.referring_to(found) - found:
            found |= more
        return found

    def below(self, table: str, *, with_heirs: bool) -> set[str]:
        """Return the partitions of a table, and theirs, also with the tables that inherit."""
        found, pairs = {table}, self.partitions | (self.heirs if with_heirs else set[tuple[str, str]]())
        while more := {child for parent, child in pairs if parent in found} - found:
            found |= more
        return found - {table}

    def with_parents(self, table: str) -> set[str]:
        """Return a table, with those of which it is a partition."""
        found = {table}
        while more := {parent for parent, child in self.partitions if child in found} - found:
            found |= more
        return found

    def dropped_by(self, table: str, action: Action) -> Iterator[ForeignKey]:
        """Yield the foreign keys of a table that an action of ALTER TABLE drops."""
        for key in self.keys:
            names = {key.name} if action.kind == "DropConstraint" else key.columns
            if key.table == table and action.kind in {"DropColumn", "DropConstraint"} and action.name in names:
                yield key

    def depending_on(self, table: str, action: Action) -> Iterator[ForeignKey]:
        """Yield the foreign keys to a table that depend on the column, or on the constraint, of an action."""
        _, columns = self.indexes.get(action.name, (table, frozenset[str]()))
        for key in self.keys:
            referred = key.target_columns or self.primary_keys.get(table, frozenset[str]())
            depends = referred == columns if action.kind == "DropConstraint" else action.name in referred
            if key.target == table and depends:
                yield key

    def with_column(self, table: str, column: str) -> Iterator[ForeignKey]:
        """Yield the foreign keys of a table that have a column."""
        return (key for key in self.keys if key.table == table and column in key.columns)

    def _learn_table(self, table: str, elements: Iterable[Node]) -> None:
        for kind, fields in map(untag, elements):
            if kind == "ColumnDef":
                self._add_column(table, Column(fields))
            elif kind == "Constraint":
                self._add(table, Constraint(fields), Constraint(fields).columns)

    def _learn_action(self, table: str, action: Action) -> None:
        match action.kind:
            case "AddColumn":
                self._add_column(table, action.column)
            case "AlterColumnType":
                self.types.add((_type_of(action.column), table))
            case "DropConstraint" | "DropColumn":
                dropped = {*self.dropped_by(table, action)}
                self.keys = [each for each in self.keys if each not in dropped]
            case "AttachPartition" | "DetachPartition" if action.partition is not None:
                change = self.partitions.add if action.kind == "AttachPartition" else self.partitions.discard
                change((table, action.partition.name))
            case "AddInherit" | "DropInherit":
                change = self.heirs.add if action.kind == "AddInherit" else self.heirs.discard
                change((action.node["def"]["RangeVar"]["relname"], table))
            case _ if action.constraint is not None:
                self._add(table, action.constraint, action.constraint.columns)
            case _:
                pass

    def _add_column(self, table: str, column: Column) -> None:
        self.types.add((_type_of(column), table))
        for each in column.constraints:
            self._add(table, each, (column.name,))

    def _add(self, table: str, constraint: Constraint, columns: tuple[str, ...]) -> None:
        if constraint.kind == "FOREIGN" and constraint.target is not None:
            name = constraint.name or f"{'_'.join((table, *columns))}_fkey"
            referred = frozenset(parts(constraint.node.get("pk_attrs")))
            self.keys.append(ForeignKey(table, name, frozenset(columns), constraint.target.name, referred))
        elif constraint.kind == "PRIMARY":
            self.primary_keys[table] = frozenset(columns)
            self.indexes[constraint.name or f"{table}_pkey"] = table, frozenset(columns)
        elif constraint.kind == "UNIQUE":
            self.indexes[constraint.name or f"{'_'.join((table, *columns))}_key"] = table, frozenset(columns)

    def _forget(self, tables: set[str]) -> None:
        self.keys = [each for each in self.keys if not {each.table, each.target} & tables]
        self.indexes = {name: index for name, index in self.indexes.items() if index[0] not in tables}
        self.triggers = {each for each in self.triggers if each[1] not in tables}
        self.types = {each for each in self.types if each[1] not in tables}
        self.partitions = {each for each in self.partitions if not {*each} & tables}
        self.heirs = {each for each in self.heirs if not {*each} & tables}


def _type_of(column: Column) -> str:
    return parts(column.node["typeName"]["names"])[-1] if "typeName" in column.node else ""
