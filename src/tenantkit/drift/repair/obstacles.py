"""Repairs that are left to the operator, because they would fail or lose something else."""

from __future__ import annotations

from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.shape import ROUTINES, VIEWS, Item, Key, Kind
from tenantkit.drift.compare import subject
from tenantkit.drift.repair.phases import Phase, dropped_in
from tenantkit.drift.repair.repairs import Repair, Repairs, wholes

_NAMESPACES = (
    frozenset({Kind.TABLE, Kind.INDEX, Kind.SEQUENCE, Kind.PRIMARY_KEY, Kind.UNIQUE, Kind.EXCLUSION, *VIEWS}),
    frozenset({Kind.ENUM, Kind.DOMAIN, Kind.COMPOSITE, Kind.TABLE, *VIEWS}),
    frozenset(ROUTINES),
)
"""The kinds that cannot have the same name in one schema."""


def refuse(repairs: Repairs) -> None:
    """Set the reason of each repair that cannot be executed, and of those that need it."""
    for repair in repairs.all:
        table = repairs.found.shape.get(Key(Kind.TABLE, None, repair.about.key.table or repair.about.key.name))
        if table and (table["partition bound"] or "").endswith("being detached"):
            repair.reason = "finish the detaching first: ALTER TABLE ... DETACH PARTITION ... FINALIZE."
    is_settled = False
    while not is_settled:
        is_settled = True
        for repair in repairs.all:
            if repair.reason is None and (reason := _obstacle(repairs, repair)):
                repair.reason, is_settled = reason, False


def _obstacle(repairs: Repairs, repair: Repair) -> str | None:
    return _used(repairs, repair) or _lacking(repairs, repair) or _inside(repairs, repair)


def _used(repairs: Repairs, repair: Repair) -> str | None:
    """Return a sentence about an object that uses a dropped item and keeps using it; ``None`` if there is none."""
    for key, user in repairs.users(repair):
        if isinstance(user, Key):
            other = repairs.of_found.get(user)
            if other is repair or (other and other.reason is None and _ends_use(repairs, other, user, key, repair)):
                continue
        return f"{subject(user)} uses it."
    return None


def _ends_use(repairs: Repairs, other: Repair, user: Key, key: Key, repair: Repair) -> bool:
    """Return whether *other* ends a use of the item that *repair* drops, and does so before it."""
    until = dropped_in(repair.about)
    if user in other.removes:
        dropped = repairs.found.shape[user] if user.kind is Kind.FOREIGN_KEY else other.about
        return dropped_in(dropped) <= until
    return until > Phase.TRIGGERS and not any(
        key in repairs.expected.dependencies.needs.get(made, ()) for made in other.makes
    )


def _lacking(repairs: Repairs, repair: Repair) -> str | None:
    """Return a sentence about a needed item that will be missing, or about the item that keeps its name."""
    for key in sorted(repair.makes, key=str):
        if key not in repairs.found.shape and (taken := _taken(repairs, key)):
            return f"{subject(taken)} has its name."
        for need in sorted({*repairs.expected.dependencies.needs.get(key, ()), *repair.needs}, key=str):
            if isinstance(need, str):
                if need not in repairs.found.dependencies.others:
                    return f"it needs {need}, which is missing and not compared."
            elif (other := repairs.of_expected.get(need)) and other is not repair and other.reason:
                return f"it needs {subject(need)}, which is left to you, too."
    return None


def _taken(repairs: Repairs, key: Key) -> Key | None:
    """Return the item that has the name of a new item, and keeps it."""
    for kinds in _NAMESPACES:
        for there in repairs.found.shape if key.kind in kinds else ():
            if there.kind in kinds and there.name == key.name:
                other = repairs.of_found.get(there)
                if other is None or other.reason or not _is_freed(there, other):
                    return there
    return None


def _is_freed(key: Key, repair: Repair) -> bool:
    about: Item = repair.about
    return key not in repair.makes and (key not in repair.removes or dropped_in(about) < Phase.CREATE)


def _inside(repairs: Repairs, repair: Repair) -> str | None:
    """Return a sentence about a column with a domain inside of its type, to which no constraint can be added."""
    for key in repair.makes:
        holder = _holder(repairs.found, *wholes(key)) if key.kind is Kind.DOMAIN_CONSTRAINT else None
        if holder is not None:
            return f"{subject(holder)} has the domain inside of its type, where PostgreSQL does not check the values."
    return None


def _holder(found: Detail, *types: Key, is_inside: bool = False) -> Key | None:
    """Return a column that has one of *types* inside of its own: in an array, a composite type, or a table's rows."""
    for user in (user for key in types for user in found.dependencies.uses.get(key, ())):
        if not isinstance(user, Key):
            continue
        type_ = found.shape[user]["type"] if user.kind in {Kind.COLUMN, Kind.DOMAIN} else None
        holds = is_inside or user.kind is Kind.COMPOSITE or (type_ or "").endswith("[]")
        if user.kind is Kind.COLUMN:
            if (holder := user if holds else _holder(found, *wholes(user), is_inside=True)) is not None:
                return holder
        elif user.kind in {Kind.COMPOSITE, Kind.DOMAIN} and (holder := _holder(found, user, is_inside=holds)):
            return holder
    return None
