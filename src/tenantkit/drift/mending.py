"""The SQL that makes one shape of another: which statements, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from tenantkit.drift import alterations, columns, enums, statements
from tenantkit.drift.differences import Change, Difference
from tenantkit.drift.phases import BACKWARDS, Phase, created_in, dropped_in, is_generated, is_parsed
from tenantkit.drift.shape import CONSTRAINTS, OWN_SCHEMA, ROUTINES, VIEWS, Item, Key, Kind, Shape, owner_of
from tenantkit.naming import quote_identifier as quoted
from tenantkit.provisioning.locks import LOCK_TIMEOUT

_WHOLE = (Kind.TABLE, Kind.DOMAIN, *VIEWS)
"""What is dropped together with all that belongs to it."""
_REBUILT_WITH_TYPES = (Kind.INDEX, *CONSTRAINTS)
"""What PostgreSQL itself rebuilds where the type of a column changes."""
_ON_COLUMNS = (Kind.TRIGGER, Kind.POLICY, *_REBUILT_WITH_TYPES)


@dataclass(frozen=True, slots=True)
class Mending:
    """What would make a tenant's schema as expected, for any tenant of the same shape."""

    first: tuple[str, ...]
    """What must be committed before the rest can use it: new labels of enums."""
    statements: tuple[str, ...]

    def script(self, schema: str) -> str:
        """Return the script for one schema, which runs in a transaction."""
        scripts = [_transaction(schema, part) for part in (self.first, self.statements) if part]
        return "\n".join(scripts)


def _transaction(schema: str, parts: Iterable[str]) -> str:
    lines = [
        "BEGIN",
        f"SET LOCAL search_path = {quoted(schema)}, pg_catalog, pg_temp",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
        "SET LOCAL check_function_bodies = off",
        *(part.replace(f"{OWN_SCHEMA}.", f"{quoted(schema)}.").replace(OWN_SCHEMA, schema) for part in parts),
        "COMMIT",
    ]
    return "".join(f"{line}\n" if line.startswith("--") else f"{line};\n" for line in lines)


def mend(expected: Shape, found: Shape, differences: Iterable[Difference]) -> Mending:
    """Return what turns *found* into *expected*, given how they differ."""
    plan = _Plan(expected, found)
    for difference in differences:
        plan.add(difference)
    plan.include_dependants()
    return plan.mending()


@dataclass(frozen=True, slots=True)
class _Step:
    """A few statements that belong together."""

    phase: Phase
    item: Item
    statements: list[str]

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among the others: what is needed by others is made before, and dropped after them."""
        return self.phase, self.item.position * (-1 if self.phase in BACKWARDS else 1)


@dataclass(slots=True)
class _Plan:
    expected: Shape
    found: Shape
    becomes: dict[Key, Item] = field(default_factory=dict[Key, Item])
    """What is expected of each item that is there; those that should not be are left out."""
    drops: dict[Key, Item] = field(default_factory=dict[Key, Item])
    creates: dict[Key, Item] = field(default_factory=dict[Key, Item])
    changes: list[_Step] = field(default_factory=list[_Step])
    """Of items that are there, which they are changed in place; not if they are dropped after all."""
    converted: dict[Key, Item] = field(default_factory=dict[Key, Item])
    """Columns whose values are converted: what depends on one must go before that, and come back after it."""
    rebuilt: set[tuple[str | None, str]] = field(default_factory=set[tuple[str | None, str]])
    """Of which tables the indexes and constraints that have a word in their definition must do so too."""
    first: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.becomes.update((key, self.expected[key]) for key in self.found if key in self.expected)

    def add(self, difference: Difference) -> None:
        """Plan for one difference."""
        match difference.change, difference.expected, difference.found:
            case Change.MISSING, Item() as item, None:
                self.creates[item.key] = item
            case Change.EXTRA, None, Item() as item:
                self.drops[item.key] = item
            case Change.RENAMED, Item() as expected, Item() as found:
                self.becomes[found.key] = expected
                self._change(Phase.ALTER, found, statements.rename(found.key, expected.key))
            case _, Item() as expected, Item() as found:
                self._alter(expected, found)
            case _:
                pass

    def include_dependants(self) -> None:
        """Plan for what stands in the way of the changes although it is as it should be."""
        on_columns = {(key.table, key.name) for key in self.converted}
        for key in [key for key, item in self.found.items() if key in self.becomes and is_generated(item)]:
            if any(table == key.table and _mentions(self.found[key], name) for table, name in on_columns):
                self._replace_column(key)
        for key in [key for key in self.found if key.kind in _ON_COLUMNS and self._is_in_the_way(key)]:
            self._rebuild(key)
        names = {key.table for key in self.converted} | self._dropped(*VIEWS)
        views = {key for key, item in self.found.items() if is_parsed(item)}
        while used := {key for key in views if any(_mentions(self.found[key], name) for name in names)}:
            for view in used:
                self._rebuild(view)
            views -= used
            names = {view.name for view in used}
        gone = self._dropped(*VIEWS)
        for key in [key for key in self.expected if key.table in gone]:
            self.creates[key] = self.expected[key]
        referred = {key.table for key, item in self.drops.items() if _is_unique(item)}
        for key in [key for key in self.found if key.kind is Kind.FOREIGN_KEY]:
            if self.found[key]["referred table"] in referred:
                self._rebuild(key)

    def mending(self) -> Mending:
        """Return the statements in their order."""
        steps = [step for step in self.changes if step.item.key not in self.drops]
        new_tables, gone = {key.name for key in self.creates if key.kind is Kind.TABLE}, self._dropped(*_WHOLE)
        for key, item in self.creates.items():
            if key.kind is Kind.SEQUENCE:
                steps.append(_Step(Phase.OWN, item, statements.own_sequence(item)))
            if key.kind is not Kind.COLUMN or key.table not in new_tables:
                phase = created_in(item, self.expected, is_replaced=key in self.drops)
                steps.append(_Step(phase, item, statements.create(item, self.expected)))
        for key, item in self.drops.items():
            if key.table not in gone or key.kind is Kind.FOREIGN_KEY:
                phase = dropped_in(item, is_replaced=key in self.creates)
                is_granted = key in self.creates and key.kind in VIEWS
                lost = [statements.remark(f"What was granted on {key.name} is lost: grant it again.")] * is_granted
                steps.append(_Step(phase, item, [*lost, *statements.drop(item)]))
        steps.sort(key=lambda step: step.place)
        return Mending(tuple(self.first), tuple(chain.from_iterable(step.statements for step in steps)))

    def _alter(self, expected: Item, found: Item) -> None:
        if expected.key.kind is Kind.ENUM:
            self._alter_enum(expected, found)
        elif expected.key.kind is Kind.COLUMN:
            self._alter_column(expected, found)
        else:
            if expected.key.kind is Kind.SEQUENCE and owner_of(expected) != owner_of(found):
                self._change(Phase.OWN, found, statements.own_sequence(expected))
            changes = alterations.alter(expected, found)
            if changes is None:
                self._rebuild(found.key)
            else:
                phase = created_in(found, self.found) if expected.key.kind in ROUTINES else Phase.ALTER
                self._change(phase, found, changes)

    def _alter_column(self, expected: Item, found: Item) -> None:
        changes = columns.alter(expected, found, self._enums())
        if changes is None:
            self._replace_column(found.key)
            return
        if columns.changes_type(expected, found):
            self.converted[found.key] = found
        self._change(Phase.RETYPE, found, columns.drop_identity(expected, found))
        self._change(Phase.ALTER, found, changes)

    def _replace_column(self, key: Key) -> None:
        self.converted[key] = self.found[key]
        self.rebuilt.add((key.table, key.name))
        self._rebuild(key)

    def _alter_enum(self, expected: Item, found: Item) -> None:
        if added := enums.new_labels(expected, found):
            self.first += added
            return
        if renamed := enums.renamed_labels(expected, found):
            self._change(Phase.RETYPE, found, renamed)
            return
        typed = [column for column in enums.columns_of(expected.key.name, self.found) if column.key in self.becomes]
        self.converted.update({column.key: column for column in typed})
        self.rebuilt.update((column.key.table, f"::{(column['type'] or '').removesuffix('[]')}") for column in typed)
        self._change(Phase.RETYPE, found, enums.replace(expected, found, typed))
        self._change(Phase.LAST, found, [f"DROP TYPE {enums.replaced_name(found)}"])
        for key in [key for key, item in self.found.items() if _is_made_of(item, expected.key.name)]:
            self._rebuild(key)

    def _change(self, phase: Phase, found: Item, changes: list[str]) -> None:
        self.changes.append(_Step(phase, found, changes))

    def _rebuild(self, key: Key) -> None:
        self.drops[key] = self.found[key]
        if (expected := self.becomes.get(key)) is not None:
            self.creates[expected.key] = expected

    def _enums(self) -> set[str]:
        return {key.name for shape in (self.expected, self.found) for key in shape if key.kind is Kind.ENUM}

    def _is_in_the_way(self, key: Key) -> bool:
        """Return whether an item speaks of a converted column in a way that prevents it, or dies with it."""
        on_columns = {(column.table, column.name) for column in self.converted}
        words = self.rebuilt if key.kind in _REBUILT_WITH_TYPES else on_columns
        return any(table == key.table and _mentions(self.found[key], word) for table, word in words)

    def _dropped(self, *kinds: Kind) -> set[str | None]:
        """Return the names of what is dropped of some kinds."""
        return {key.name for key in self.drops if key.kind in kinds}


def _mentions(item: Item, name: str | None) -> bool:
    """Return whether an item may use what has this name; to rebuild one more than needed does no harm."""
    return any(name is not None and value is not None and name in value for value in item.values)


def _is_made_of(item: Item, name: str) -> bool:
    """Return whether a type may be part of another, or of what a function takes or returns."""
    if item.key.kind in ROUTINES:
        return name in item.key.name or name in alterations.heading(item)
    return item.key.kind in {Kind.COMPOSITE, Kind.DOMAIN} and _mentions(item, name)


def _is_unique(item: Item) -> bool:
    """Return whether a foreign key may rest on an item."""
    return item.key.kind in {Kind.PRIMARY_KEY, Kind.UNIQUE} or (item.key.kind is Kind.INDEX and item["unique"] == "yes")
