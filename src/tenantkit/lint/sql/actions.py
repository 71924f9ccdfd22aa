"""The actions of an ALTER TABLE, and the columns and constraints that it adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tenantkit.lint.sql.expressions import is_null, not_null_column, spell_type
from tenantkit.lint.sql.tree import Name, Node, name_of, parts, untag

_SERIAL = frozenset({"bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"})
_RENAMES = {
    "OBJECT_COLUMN": "RenameColumn",
    "OBJECT_FOREIGN_TABLE": "RenameTable",
    "OBJECT_TABCONSTRAINT": "RenameConstraint",
    "OBJECT_TABLE": "RenameTable",
}
_TABLES = frozenset({"OBJECT_FOREIGN_TABLE", "OBJECT_TABLE"})


@dataclass(frozen=True)
class Constraint:
    """A constraint, or another clause after the type of a column."""

    node: Node

    @property
    def kind(self) -> str:
        """Its kind, such as ``CHECK``, ``FOREIGN``, ``PRIMARY`` or ``DEFAULT``."""
        return str(self.node["contype"]).removeprefix("CONSTR_")

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
        return self.node.get("conname")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a key."""
        return parts(self.node.get("keys") or self.node.get("fk_attrs") or [])

    @property
    def target(self) -> Name | None:
        """The table that a foreign key refers to."""
        return name_of(self.node.get("pktable"))

    @property
    def expression(self) -> Node | None:
        """The expression of a check, a default or a generated column."""
        return self.node.get("raw_expr")

    @property
    def is_unique(self) -> bool:
        """Whether it forbids two rows with the same values."""
        return self.kind in {"PRIMARY", "UNIQUE"}

    @property
    def is_not_valid(self) -> bool:
        """Whether existing rows are not checked."""
        return bool(self.node.get("skip_validation"))


@dataclass(frozen=True)
class Column:
    """A column that is added, or whose type is changed."""

    node: Node

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.node["colname"])

    @cached_property
    def type(self) -> str:
        """Its type, as ``varchar(20)``."""
        return spell_type(self.node["typeName"])

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints and other clauses after its type."""
        return tuple(Constraint(each["Constraint"]) for each in self.node.get("constraints", ()))

    @property
    def using(self) -> Node | None:
        """The expression that converts its values to a new type."""
        return self.node.get("raw_default")

    def has(self, *kinds: str) -> bool:
        """Return whether a constraint of one of these *kinds* follows its type."""
        return any(each.kind in kinds for each in self.constraints)

    @property
    def default(self) -> Node | None:
        """Its default, unless that is NULL."""
        found = (each.expression for each in self.constraints if each.kind == "DEFAULT")
        return next((each for each in found if not is_null(each)), None)

    @property
    def is_numbered(self) -> bool:
        """Whether a sequence generates its values."""
        return self.type in _SERIAL or self.has("IDENTITY")

    @property
    def has_value(self) -> bool:
        """Whether an INSERT that omits it sets a value."""
        return self.default is not None or self.is_numbered or self.has("GENERATED")

    @property
    def forbids_null(self) -> bool:
        """Whether it is declared NOT NULL."""
        return self.has("NOTNULL", "PRIMARY") or any(
            each.kind == "CHECK" and not_null_column(each.expression) == self.name for each in self.constraints
        )


@dataclass(frozen=True)
class Action:
    """One action of an ALTER TABLE."""

    kind: str
    """PostgreSQL's own name for it, such as ``AddColumn``, or ``RenameColumn``, ``RenameTable`` and ``SetSchema``."""
    node: Node

    @property
    def name(self) -> str:
        """The name of the column, constraint or trigger, or of the column that is added."""
        if self.kind == "RenameColumn":
            return str(self.node["subname"])
        return self.column.name if self.kind == "AddColumn" else str(self.node.get("name"))

    @property
    def new_name(self) -> str:
        """The new name of the renamed object."""
        return str(self.node["newname"])

    @cached_property
    def column(self) -> Column:
        """The column that is added, or has a new type."""
        return Column(untag(self.node.get("def"))[1])

    @cached_property
    def constraint(self) -> Constraint | None:
        """The constraint that is added to the table."""
        kind, fields = untag(self.node.get("def"))
        return Constraint(fields) if self.kind == "AddConstraint" and kind == "Constraint" else None

    @property
    def foreign_keys(self) -> tuple[Constraint, ...]:
        """The new foreign keys with rows to check.

        PostgreSQL does not check the key of a new column without a value.
        """
        if self.constraint is not None:
            return (self.constraint,) if self.constraint.kind == "FOREIGN" else ()
        if self.kind != "AddColumn" or not self.column.has_value:
            return ()
        return tuple(each for each in self.column.constraints if each.kind == "FOREIGN")

    @property
    def takes_default(self) -> bool:
        """Whether it removes the default of a column."""
        return self.kind == "DropIdentity" or (
            self.kind == "ColumnDefault" and ("def" not in self.node or is_null(self.node["def"]))
        )

    @property
    def gives_default(self) -> bool:
        """Whether it sets the default of a column."""
        return self.kind == "ColumnDefault" and not self.takes_default

    @property
    def partition(self) -> Name | None:
        """The partition that is attached or detached."""
        return name_of(untag(self.node.get("def"))[1].get("name"))

    @property
    def is_concurrent(self) -> bool:
        """Whether it detaches a partition in two transactions."""
        return bool(untag(self.node.get("def"))[1].get("concurrent"))


def actions_of(kind: str, node: Node) -> Iterator[Action]:
    """Yield the actions of a statement, if it is an ALTER TABLE."""
    if kind == "AlterTableStmt" and node["objtype"] in _TABLES:
        for each in node["cmds"]:
            command = each["AlterTableCmd"]
            yield Action(command["subtype"].removeprefix("AT_"), command)
    elif kind == "RenameStmt" and node["renameType"] in _RENAMES:
        if node["renameType"] != "OBJECT_COLUMN" or node["relationType"] in _TABLES:
            yield Action(_RENAMES[node["renameType"]], node)
    elif kind == "AlterObjectSchemaStmt" and node["objectType"] in _TABLES:
        yield Action("SetSchema", node)
