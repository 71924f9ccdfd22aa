"""The repairs of a schema: for each difference, statements that are executed together or left to the operator.

An object is changed in place, created if it is missing, or dropped if it should not exist. Only constraints, indexes,
triggers and policies are recreated: they have no owner and no privileges, and few objects depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tenantkit.drift.catalog.dependencies import BLOCKING, COMMENT_ON_NOT_NULL, PRIVATE, Detail, Node
from tenantkit.drift.catalog.shape import (
    CONSTRAINTS,
    IN_NEW_ROWS,
    ROUTINES,
    VIEWS,
    Item,
    Key,
    Kind,
    Shape,
    parents,
    unquoted,
)
from tenantkit.drift.compare import Change, Difference, subject
from tenantkit.drift.repair import alterations, columns, statements
from tenantkit.drift.repair.phases import Phase, created_in, dropped_in
from tenantkit.postgres.quoting import quote_identifier as quoted

_REMADE = frozenset({*CONSTRAINTS, Kind.DOMAIN_CONSTRAINT, Kind.INDEX, Kind.TRIGGER, Kind.POLICY})
_KEPT = frozenset({*CONSTRAINTS, Kind.INDEX, Kind.SEQUENCE}) - {Kind.FOREIGN_KEY}
"""Kinds that PostgreSQL itself recreates when the type of a column changes."""
_WHOLE = (Kind.TABLE, Kind.DOMAIN, *VIEWS)
"""Kinds that are dropped together with the items that belong to them."""
_OWNED = frozenset({Kind.TABLE, Kind.SEQUENCE, *ROUTINES, *VIEWS, Kind.ENUM, Kind.DOMAIN, Kind.COMPOSITE})

_NO_STATEMENT = (
    "there is no statement without loss. If you drop it and create it again, give it its present owner, privileges and "
    "comments, and recreate the objects that use it."
)
_LABELS = (
    "the catalogs do not show whether a label was renamed. If rows keep their meaning, use ALTER TYPE ... RENAME "
    "VALUE; else convert the columns to a new type."
)


@dataclass(slots=True, eq=False)
class Repair:
    """The statements that remove one difference."""

    about: Item
    steps: list[tuple[Phase, list[str]]]
    removes: set[Key] = field(default_factory=set[Key])
    """Items that it drops."""
    makes: set[Key] = field(default_factory=set[Key])
    """Items that are as expected after it."""
    needs: set[Key] = field(default_factory=set[Key])
    """Items that must be as expected before it, besides those in PostgreSQL's catalog of dependencies."""
    reason: str | None = None
    """The reason why it is left to the operator; ``None`` if it is executed."""


class Repairs:
    """The repairs that change *found* into *expected*, given their differences."""

    def __init__(self, expected: Detail, found: Detail, differences: tuple[Difference, ...]) -> None:
        self.expected, self.found = expected, found
        self.all: list[Repair] = []
        self.of_found: dict[Key, Repair] = {}
        self.of_expected: dict[Key, Repair] = {}
        self.labels: list[str] = []
        """The statements that add labels to enums."""
        for difference in differences:
            match difference.change, difference.expected, difference.found:
                case Change.MISSING, Item() as item, None:
                    self._create(item)
                case Change.EXTRA, None, Item() as item:
                    self._drop(item)
                case Change.RENAMED, Item() as item, Item() as other:
                    self._add(other, item, (Phase.RENAME, statements.rename(other.key, item.key)))
                case _, Item() as item, Item() as other:
                    self._alter(item, other)
                case _:
                    pass

    def users(self, repair: Repair) -> Iterator[tuple[Key, Node]]:
        """Yield each item that *repair* drops, with each object that prevents that."""
        for key in sorted(repair.removes, key=str):
            for user, how in self.found.dependencies.uses.get(key, {}).items():
                is_computed = isinstance(user, Key) and user.kind is Kind.COLUMN
                if how == BLOCKING or is_computed:
                    yield key, user

    def needed_by(self, repair: Repair) -> list[Repair]:
        """Return the other repairs that create items needed by *repair*, by PostgreSQL's catalog of dependencies."""
        needs = {need for key in repair.makes for need in self.expected.dependencies.needs.get(key, ())}
        # A domain gets its constraints before a column has it inside of another type.
        needs |= {key for key in self.of_expected if key.kind is Kind.DOMAIN_CONSTRAINT and needs & {*wholes(key)}}
        made = [need for need in needs if isinstance(need, Key) and need in self.of_expected]
        needed = [self.of_expected[need] for need in sorted(made, key=str)]
        return [other for other in needed if other is not repair]

    def _add(self, found: Item | None, expected: Item | None, *steps: tuple[Phase, list[str]]) -> Repair:
        about = found or expected
        assert about is not None  # noqa: S101 - one of them is there
        repair = Repair(about, list(steps))
        if found is not None:
            self.of_found[found.key] = repair
        if expected is not None:
            self.of_expected[expected.key] = repair
            repair.makes.add(expected.key)
        self.all.append(repair)
        return repair

    def _create(self, item: Item) -> None:
        key = item.key
        if key.kind is Kind.COLUMN and Key(Kind.TABLE, None, key.table or "") not in self.found.shape:
            return  # with its table
        made = statements.create(item, self.expected.shape)
        if key.kind in _OWNED:
            made.insert(0, statements.remark(f"Give {key.name} the owner and the privileges that it has elsewhere."))
        is_definer = key.kind in ROUTINES and statements.is_definer(item)  # it has the rights of the script's role
        if is_definer or PRIVATE in self.expected.dependencies.attached.get(key, ()):
            made += statements.close(item)
        repair = self._add(None, item, (created_in(item, self.expected.shape), made))
        self._identify(repair, item)
        if key.kind is Kind.SEQUENCE and item["owning table"]:
            repair.steps.append((Phase.OWN, statements.own_sequence(item)))
        if key.kind is Kind.TABLE:
            parts = {each for each in self.expected.shape if each.kind is Kind.COLUMN and each.table == key.name}
            repair.makes |= parts
            self.of_expected.update(dict.fromkeys(parts, repair))
            self._forbid_null_in_new_rows(repair)
            self._suspect_rename(repair)

    def _forbid_null_in_new_rows(self, repair: Repair) -> None:
        """Add each ``NOT NULL`` of a new table that is not validated when all tables exist: children inherit it."""
        above = parents(repair.about)
        for key in sorted(repair.makes, key=str):
            if key.kind is not Kind.COLUMN or self.expected.shape[key]["NULL"] != IN_NEW_ROWS:
                continue
            repair.steps.append((Phase.NOT_NULL, [statements.forbid_null_in_new_rows(repair.about.key.name, key.name)]))
            inherited = [self.found.shape.get(key._replace(table=parent)) for parent in above]
            if any(column is not None and column["NULL"] == IN_NEW_ROWS for column in inherited):
                repair.reason = f"its {key.name} would inherit a validated NOT NULL, and elsewhere it is not validated."

    def _drop(self, item: Item) -> None:
        key = item.key
        if any(whole in self.found.shape and whole not in self.expected.shape for whole in wholes(key)):
            return  # with the item that it belongs to
        repair = self._add(item, None, (dropped_in(item), statements.drop(item, self._heirs(key))))
        repair.removes.add(key)
        if key.kind in _WHOLE:
            repair.removes |= (parts := {each for each in self.found.shape if key in wholes(each)})
            self.of_found.update(dict.fromkeys(parts, repair))
            keys = [self.found.shape[each] for each in parts if each.kind is Kind.FOREIGN_KEY]
            repair.steps += [(Phase.DROP_KEYS, [statements.remove(each)]) for each in keys]
            self._suspect_rename(repair)

    def _heirs(self, column: Key) -> list[str]:
        """Return the tables that inherit a column, also as partitions."""
        found: list[str] = []
        for key, item in self.found.shape.items():
            if column.kind is Kind.COLUMN and key.kind is Kind.TABLE and column.table in parents(item):
                found += [key.name, *self._heirs(column._replace(table=key.name))]
        return found

    def _suspect_rename(self, repair: Repair) -> None:
        """Leave to the operator a table that is missing, or should not exist, and may have been renamed."""
        expected, found = self.expected.shape, self.found.shape
        missing, extra = (
            [each for each in shape if each.kind is Kind.TABLE and each not in other]
            for shape, other in ((expected, found), (found, expected))
        )
        for old, new in ((old, new) for old in extra for new in missing if repair.about.key in (old, new)):
            if _types_of(found, old) == _types_of(expected, new):
                rename = f"ALTER TABLE {quoted(old.name)} RENAME TO {quoted(new.name)}"
                repair.reason = f"{old.name} may be {new.name} under another name. If it is: {rename}."
                repair.steps.clear()

    def _alter(self, expected: Item, found: Item) -> None:
        kind, changes = expected.key.kind, alterations.alter(expected, found)
        if changes is None and kind in _REMADE:
            self._remake(expected, found)
        elif changes is None:
            made = statements.create(expected, {}) if kind in {*ROUTINES, *VIEWS} else []
            repair = self._add(found, expected, (Phase.LAST, made))
            repair.reason = _LABELS if kind is Kind.ENUM else _NO_STATEMENT
        elif kind is Kind.ENUM:
            self.labels += changes
        elif kind is Kind.COLUMN:
            self._alter_column(expected, found, changes)
        else:
            phase = created_in(found, self.found.shape) if kind in {*ROUTINES, Kind.VIEW} else Phase.ALTER
            repair = self._add(found, expected, (phase, changes))
            if kind is Kind.TABLE and expected["replica identity"] != found["replica identity"]:
                self._identify(repair, expected)
            if kind is Kind.TABLE and parents(expected) != parents(found):
                above = {key for key in self.expected.shape if key.table in parents(expected)}
                repair.needs |= {key._replace(table=found.key.name) for key in above if key.kind is Kind.COLUMN}
                if set(_types_of(self.found.shape, found.key)) > {key.name for key in repair.needs}:
                    repair.reason = "it has columns that its parent does not have."

    def _alter_column(self, expected: Item, found: Item, changes: list[str]) -> None:
        table = self.found.shape[Key(Kind.TABLE, None, found.key.table or "")]
        above = [found.key._replace(table=parent) for parent in parents(table)]
        if any(key in self.expected.shape and self.expected.shape[key] != self.found.shape.get(key) for key in above):
            return  # with its parent's
        repair = self._add(found, expected, (Phase.ALTER, changes))
        changes_type = columns.changes_type(expected, found)
        changes[:0] = self._tell_loss(
            found.key,
            {
                each
                for each in self.found.dependencies.attached.get(found.key, ())
                if (columns.drops_not_null(expected, found) if each == COMMENT_ON_NOT_NULL else changes_type)
            },
        )
        if changes_type:
            repair.reason = (
                "it belongs to the parent of its table." if above else self._obstacle_to_type(expected, found, table)
            )

    def _obstacle_to_type(self, expected: Item, found: Item, table: Item) -> str | None:
        """Return a sentence about why a script cannot change the type of a column; ``None`` if it can."""
        dependencies = self.found.dependencies
        if columns.converts(expected, found):
            return (
                f"its values must be converted from {found['type']} to {expected['type']}. Look at them first: a value "
                "that does not fit is an error, and others may be rounded, cut, or read in this session's time zone."
            )
        if table.key in dependencies.needs.get(found.key, ()):
            return "its table is partitioned by it."
        for user, how in dependencies.uses.get(found.key, {}).items():
            if user.kind not in _KEPT if isinstance(user, Key) else how == BLOCKING:
                return f"{subject(user)} uses it."
        for user in dependencies.uses.get(table.key, ()):
            if user != found.key and isinstance(user, Key) and user.kind in {Kind.COLUMN, Kind.COMPOSITE}:
                return "the rows of its table are the type of another column."
        return None

    def _remake(self, expected: Item, found: Item) -> None:
        drop = dropped_in(found), [*self._lost(found.key), statements.remove(found)]
        create = created_in(expected, self.expected.shape), statements.create(expected, self.expected.shape)
        repair = self._add(found, expected, drop, create)
        repair.removes.add(found.key)
        self._identify(repair, expected)

    def _lost(self, key: Key) -> list[str]:
        """Return the comment on properties that an object loses when it is recreated."""
        return self._tell_loss(key, {*self.found.dependencies.attached.get(key, ())})

    def _tell_loss(self, key: Key, properties: set[str]) -> list[str]:
        lost = sorted(properties - {PRIVATE})
        return [statements.remark(f"Lost with {subject(key)}: {', '.join(lost)}.")] if lost else []

    def _identify(self, repair: Repair, item: Item) -> None:
        """Set a table's replica identity when the table, or the index for that, is created."""
        table = self.expected.shape.get(Key(Kind.TABLE, None, item.key.table or item.key.name))
        if table is None or (item is table and table["replica identity"] == "DEFAULT" and repair.about is item):
            return
        _, is_index, name = (table["replica identity"] or "").partition("USING INDEX ")
        if item is table or (
            is_index and item.key.kind in {*CONSTRAINTS, Kind.INDEX} and item.key.name == unquoted(name)
        ):
            repair.steps.append((Phase.LAST, [statements.set_replica_identity(table)]))
        if item is table and is_index:
            repair.needs |= {
                key for key in self.expected.shape if key.table == item.key.name and key.name == unquoted(name)
            }


def wholes(key: Key) -> list[Key]:
    """Return the keys that an item may belong to: a table, a view or a domain of that name."""
    return [Key(kind, None, key.table) for kind in _WHOLE] if key.table else []


def _types_of(shape: Shape, table: Key) -> dict[str, str | None]:
    """Return the types of a table's columns."""
    return {
        key.name: item["type"] for key, item in shape.items() if key.kind is Kind.COLUMN and key.table == table.name
    }
