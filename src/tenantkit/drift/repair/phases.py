"""The order of statements: an item is created after the items that it needs, and dropped before them."""

from __future__ import annotations

from enum import IntEnum, auto

from tenantkit.drift.catalog.shape import BODY, CONSTRAINTS, ROUTINES, VIEWS, Item, Key, Kind, Shape


class Phase(IntEnum):
    """The order of statements: an item is dropped before the items that it needs, and created after them."""

    DROP_VIEWS = auto()
    DROP_TRIGGERS = auto()
    DROP_KEYS = auto()
    DROP_CONSTRAINTS = auto()
    DROP_INDEXES = auto()
    DROP_TABLES = auto()
    RENAME = auto()
    CREATE = auto()
    ALTER = auto()
    GENERATE = auto()
    OWN = auto()
    NOT_NULL = auto()
    CONSTRAINTS = auto()
    INDEXES = auto()
    KEYS = auto()
    VIEWS = auto()
    INDEXES_OF_VIEWS = auto()
    TRIGGERS = auto()
    DROP_COLUMNS = auto()
    DROP_OTHERS = auto()
    LAST = auto()


AFTERWARDS = frozenset({Phase.OWN, Phase.NOT_NULL})
"""The phases of steps that no other item needs."""
BACKWARDS = frozenset(phase for phase in Phase if phase.name.startswith("DROP"))

_CREATED = {
    Kind.COLUMN: Phase.ALTER,
    **dict.fromkeys(CONSTRAINTS, Phase.CONSTRAINTS),
    Kind.FOREIGN_KEY: Phase.KEYS,
    Kind.INDEX: Phase.INDEXES,
    Kind.TRIGGER: Phase.TRIGGERS,
    Kind.POLICY: Phase.TRIGGERS,
}
_DROPPED = {
    Kind.TRIGGER: Phase.DROP_TRIGGERS,
    Kind.POLICY: Phase.DROP_TRIGGERS,
    Kind.DOMAIN_CONSTRAINT: Phase.DROP_CONSTRAINTS,
    **dict.fromkeys(CONSTRAINTS, Phase.DROP_CONSTRAINTS),
    Kind.FOREIGN_KEY: Phase.DROP_KEYS,
    Kind.INDEX: Phase.DROP_INDEXES,
    Kind.TABLE: Phase.DROP_TABLES,
    Kind.COLUMN: Phase.DROP_COLUMNS,
}


def created_in(item: Item, shape: Shape) -> Phase:
    """Return the phase in which *item* is created in a schema that will have this *shape*."""
    if item.key.kind is Kind.COLUMN and item["generated"] is not None:
        return Phase.GENERATE
    if item.key.kind is Kind.INDEX and Key(Kind.MATERIALIZED_VIEW, None, item.key.table or "") in shape:
        return Phase.INDEXES_OF_VIEWS
    return Phase.VIEWS if _is_parsed(item) else _CREATED.get(item.key.kind, Phase.CREATE)


def dropped_in(item: Item) -> Phase:
    """Return the phase in which *item* is dropped."""
    if item.key.kind is Kind.COLUMN and item["generated"] is not None:
        return Phase.DROP_TABLES
    return Phase.DROP_VIEWS if _is_parsed(item) else _DROPPED.get(item.key.kind, Phase.DROP_OTHERS)


def _is_parsed(item: Item) -> bool:
    """Return whether PostgreSQL keeps an item in parsed form, which depends on the columns that it reads."""
    return item.key.kind in VIEWS or (item.key.kind in ROUTINES and BODY not in (item["signature"] or ""))
