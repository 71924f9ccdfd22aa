"""Display of a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import typer
from rich.text import Text

from tenantkit.cli.display.errors import in_one_line, without_passwords
from tenantkit.cli.display.output import err, out, print_json
from tenantkit.cli.display.progress import failure
from tenantkit.cli.display.summary import count, unchanged
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations import PlannedGroup, PlannedStep, Preview
from tenantkit.naming import first_lines

_SHOWN = 20
"""Maximum number of tenants listed per group."""


def show(preview: Preview, *, sql: bool, as_json: bool) -> None:
    """Print a preview as JSON, as SQL with comments, or in words; exit with 1 if a tenant would fail."""
    if as_json:
        print_json(_as_json(preview))
    elif sql:
        typer.echo("\n".join(_write_sql(preview)))
    else:
        _print(preview)
    for outcome in preview.would_fail:
        err.print(Text.assemble(("would fail ", "bold red"), failure(outcome)), soft_wrap=True)
    if preview.would_fail:
        raise typer.Exit(1)


def _print(preview: Preview) -> None:
    if not preview.registry_is_current:
        out.print("The registry would be brought to this version of tenantkit.", soft_wrap=True)
    for group, title in _titled(preview):
        out.print(Text(title, style="bold"), soft_wrap=True)
        for step in group.steps:
            out.print(f"  {_describe(step)}", soft_wrap=True)
        if group is not preview.shared:
            out.print(f"  {_names(group)}", style="dim", soft_wrap=True)
    if preview.unchanged or not preview.would_change:
        out.print(f"Unchanged: {unchanged(preview.unchanged, preview.target)}", soft_wrap=True)
    err.print("Nothing was changed.")


def _write_sql(preview: Preview) -> Iterator[str]:
    """Yield lines of SQL. Everything else is in comments."""
    yield f"-- The SQL that a run to {preview.target} would send. Nothing was changed."
    for group, title in _titled(preview):
        yield f"\n-- {title}"
        yield from (f"--   {_describe(step)}" for step in group.steps)
        yield from (f"-- {line}" for line in _explain(group, is_shared=group is preview.shared))
        if group.rehearsal is not None and group.rehearsal.script is not None:
            yield group.rehearsal.script
    if not preview.would_change:
        yield f"-- Unchanged: {unchanged(preview.unchanged, preview.target)}"


def _explain(group: PlannedGroup, *, is_shared: bool) -> Iterator[str]:
    """Yield notes on a script, or the reason why there is none."""
    if not is_shared:
        yield _names(group)
    if (rehearsal := group.rehearsal) is None:
        return
    if rehearsal.failures and rehearsal.script is None:
        yield f"No script: the rehearsal failed: {in_one_line(rehearsal.failures[0].error or '')}"
    elif rehearsal.obstacle is not None:
        yield f"No script: {as_clause(in_one_line(rehearsal.obstacle))}. {_ALEMBIC}."
    elif rehearsal.script is not None:
        about = _FEW if len(group.placements) <= _REHEARSING else _MANY
        yield about.format(key=group.placements[0].key)
    if rehearsal.autocommit is not None:
        yield _AUTOCOMMIT.format(revision=rehearsal.autocommit)


_ALEMBIC = "Alembic runs for each"
_REHEARSING = 2
_FEW = "This is for {key}. Alembic sends the same, statement by statement."
_MANY = "This is for {key}. Alembic migrates the first two itself; the others get this, with their own schema."
_AUTOCOMMIT = (
    "From {revision} on: no script. It has steps outside of a transaction, which cannot be rehearsed and rolled back, "
    "or replay = False. Alembic runs for each tenant."
)


def _titled(preview: Preview) -> Iterator[tuple[PlannedGroup, str]]:
    """Yield each group with its title."""
    groups = [(preview.shared, "Shared tables")] if preview.shared is not None else []
    groups += [(group, count(len(group.placements))) for group in preview.groups]
    for group, name in groups:
        yield group, f"{name}: {group.from_revision or 'base'} -> {group.to_revision or 'base'}"


def _describe(step: PlannedStep) -> str:
    return f"{step.revision}  {in_one_line(step.message)}".rstrip()


def _names(group: PlannedGroup) -> str:
    return first_lines([placement.key for placement in group.placements], _SHOWN)


def _as_json(preview: Preview) -> dict[str, Any]:
    def cleaned(value: Any) -> Any:
        match value:
            case {"error": str(error), **others}:
                return {**others, "error": without_passwords(error)}
            case {**values}:
                return {name: cleaned(each) for name, each in values.items()}
            case [*several]:
                return [cleaned(each) for each in several]
            case _:
                return value

    return {**cleaned(asdict(preview)), "would_change": preview.would_change, "would_fail": len(preview.would_fail)}
