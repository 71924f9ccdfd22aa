"""The script that changes one shape into another: ordered statements, and comments on work left to the operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tenantkit.drift.catalog.dependencies import Detail
from tenantkit.drift.catalog.shape import OWN_SCHEMA, Kind
from tenantkit.drift.compare import Difference, subject
from tenantkit.drift.repair.obstacles import refuse
from tenantkit.drift.repair.phases import AFTERWARDS, BACKWARDS, Phase
from tenantkit.drift.repair.repairs import Repair, Repairs, wholes
from tenantkit.drift.repair.statements import remark
from tenantkit.postgres.limits import LOCK_TIMEOUT
from tenantkit.postgres.quoting import quote_identifier as quoted


@dataclass(frozen=True, slots=True)
class RepairScript:
    """The statements that make a tenant's schema as expected."""

    by_hand: tuple[str, ...]
    """Comments on changes that no statement can make without loss."""
    first: tuple[str, ...]
    """Statements that must be committed before the others: new labels of enums."""
    statements: tuple[str, ...]

    def script(self, schema: str) -> str:
        """Return the script for one schema, which runs in a transaction."""
        comments = "".join(f"{_written(line, schema)}\n" for line in self.by_hand)
        transactions = [_transaction(schema, part) for part in (self.first, self.statements) if part]
        return "\n".join([*filter(None, [comments]), *transactions])


def write_repair(expected: Detail, found: Detail, differences: tuple[Difference, ...]) -> RepairScript:
    """Return the script that changes *found* into *expected*, given their differences."""
    repairs = Repairs(expected, found, differences)
    refuse(repairs)
    return RepairScript(
        by_hand=tuple(_by_hand(repairs)),
        first=tuple(repairs.labels),
        statements=tuple(part for parts in _in_order(repairs) for part in parts),
    )


def _in_order(repairs: Repairs) -> Iterator[list[str]]:
    """Yield the statements by their phases; those that create an item come after those that create its needs."""
    steps = [
        (phase, repair.about.position * (-1 if phase in BACKWARDS else 1), repair, parts)
        for repair in repairs.all
        if repair.reason is None
        for phase, parts in repair.steps
    ]
    steps.sort(key=lambda step: step[:2])
    making = defaultdict[Repair, list[int]](list)
    for number, (phase, _, repair, _) in enumerate(steps):
        if Phase.CREATE <= phase < Phase.DROP_COLUMNS and phase not in AFTERWARDS:
            making[repair].append(number)
    done = set[int]()

    def after_needs(number: int) -> Iterator[list[str]]:
        if number not in done:
            done.add(number)
            _, _, repair, parts = steps[number]
            if number in making[repair] and repair.about.key.kind is not Kind.SEQUENCE:  # a column needs it first
                for other in repairs.needed_by(repair):
                    for earlier in making[other]:
                        yield from after_needs(earlier)
            yield parts

    for number in range(len(steps)):
        yield from after_needs(number)


def _by_hand(repairs: Repairs) -> Iterator[str]:
    refused = [repair for repair in repairs.all if repair.reason]
    missing = {repair.about.key for repair in refused if repair.about.key not in repairs.found.shape}
    for repair in refused:
        if not missing.intersection(wholes(repair.about.key)):  # the table's own comment is enough
            yield remark(f"By hand: {subject(repair.about.key)}: {repair.reason}")
            for part in (part for _, parts in repair.steps for part in parts):
                yield from (f"--   {line}" for line in part.splitlines())


def _transaction(schema: str, parts: Iterable[str]) -> str:
    lines = [
        "BEGIN",
        f"SET LOCAL search_path = {quoted(schema)}, pg_catalog, pg_temp",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'",
        "SET LOCAL check_function_bodies = off",
        *(_written(part, schema) for part in parts),
        "COMMIT",
    ]
    return "".join(f"{line}\n" if line.startswith("--") else f"{line};\n" for line in lines)


def _written(part: str, schema: str) -> str:
    return part.replace(f"{OWN_SCHEMA}.", f"{quoted(schema)}.").replace(OWN_SCHEMA, schema)
