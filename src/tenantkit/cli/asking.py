"""Confirmation of a downgrade or a stamp: the number of tenants, their revisions, and the data that is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tenantkit.cli.confirm import confirm, confirm_by_typing
from tenantkit.cli.display.errors import in_one_line
from tenantkit.cli.display.summary import count
from tenantkit.lint.losses import Losses, find_losses
from tenantkit.migrations.dry_run.forecast import Forecast, find_rows
from tenantkit.migrations.results.planned import PlannedGroup
from tenantkit.naming import first_lines
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import MAIN_DATABASE, Placement

_NAMED = 10
"""Maximum number of tenants, tables or columns listed; more are counted."""


def ask_before_downgrade(tenancy: Tenancy, forecast: Forecast) -> None:
    """Ask a person to confirm the downgrades of *forecast*, by a word if rows may be lost; raises as `confirm` does."""
    if not forecast.groups:
        return
    losses = find_losses(tenancy, forecast.graph, forecast.revisions)
    tables: dict[Placement, set[str]] = {}
    for table in losses.touched:
        for place in [Placement(MAIN_DATABASE, table.schema)] if table.schema else forecast.where:
            tables.setdefault(place, set()).add(table.name)
    with_rows = find_rows(tenancy.databases, tables)
    said = "\n".join([*_describe(forecast, "go back"), *_describe_losses(losses)])
    if with_rows is None and not losses.unknown:
        confirm(f"{said}\nNo rows are lost. Continue?")
        return
    word = _word(forecast)
    rows = "Rows may be lost." if with_rows is None else f"Rows are lost: {'.'.join(with_rows)} has some."
    confirm_by_typing(word, f"{said}\n{rows}\nType {word!r} to continue")


def ask_before_stamp(forecast: Forecast, *, purge: bool) -> None:
    """Ask a person to confirm the stamps of *forecast*; raises as `confirm` does."""
    if forecast.groups:
        rows = " in place of all rows of alembic_version" if purge else ""
        said = "\n".join(_describe(forecast, "are stamped"))
        confirm(f"{said}\nNo revision is run, only its id is recorded{rows}. Continue?")


def _describe(forecast: Forecast, verb: str) -> Iterator[str]:
    if forecast.graph.scope == "shared":
        [group] = forecast.groups
        yield f"The shared tables {verb}: {_way(group)}"
        return
    for group in forecast.groups:
        keys = first_lines([placement.key for placement in group.placements], _NAMED)
        yield f"{count(len(group.placements))} {_agreeing(verb, group)}: {_way(group)} ({keys})"


def _agreeing(verb: str, group: PlannedGroup) -> str:
    return {"go back": "goes back", "are stamped": "is stamped"}[verb] if len(group.placements) == 1 else verb


def _way(group: PlannedGroup) -> str:
    return f"{group.from_revision or 'base'} -> {group.to_revision or 'base'}"


def _describe_losses(losses: Losses) -> Iterator[str]:
    columns = [f"{table}.{column}" for table, names in losses.columns.items() for column in names]
    dropped = [
        _several(noun, names)
        for noun, names in (("table", [str(each) for each in losses.tables]), ("column", columns))
        if names
    ]
    if dropped:
        yield f"Dropped: {'; '.join(dropped)}."
    elif not losses.unknown:
        yield "No table and no column is dropped."
    if losses.emptied:
        yield f"Rows are deleted from {first_lines([str(each) for each in losses.emptied], _NAMED)}."
    for revision, reason in sorted(losses.unknown.items()):
        yield f"Revision {revision} may remove more: {in_one_line(reason)}."


def _several(noun: str, names: Collection[str]) -> str:
    return f"{noun}{'' if len(names) == 1 else 's'} {first_lines(names, _NAMED)}"


def _word(forecast: Forecast) -> str:
    """Return the word to type: the key of the only tenant, or the number of tenants."""
    if forecast.graph.scope == "shared":
        return "shared"
    return forecast.placements[0].key if len(forecast.placements) == 1 else str(len(forecast.placements))
