"""Telling what a migration would do, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from sqlalchemy import Connection
from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, one_of, require
from tenantkit.cancellation import handling
from tenantkit.migrations.env_file import require_usable
from tenantkit.migrations.fleet import Options, policy, settings_of, usable_line
from tenantkit.migrations.option_kinds import check_options
from tenantkit.migrations.phases import Phase, limit, require_no_end
from tenantkit.migrations.planned import PlannedGroup, PlannedPlacement, PlannedStep, Preview
from tenantkit.migrations.planning import group, plan_fleet
from tenantkit.migrations.report import join
from tenantkit.migrations.revisions import read_revisions
from tenantkit.migrations.scripts import Rehearsing
from tenantkit.migrations.shared import SHARED, shared_target
from tenantkit.migrations.sites import line_of, shared_site
from tenantkit.migrations.trial import name_of, rolled_back
from tenantkit.migrations.unversioned import refuse_unversioned, require_versioned_shared
from tenantkit.registry import versions
from tenantkit.tenancy import TENANCY, Tenancy

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

    from tenantkit.migrations.lines import Heads, Line

Previewed: TypeAlias = Literal["migrate", "downgrade"]


def preview(
    tenancy: Tenancy,
    target: str = "head",
    *,
    command: Previewed = "migrate",
    scripts: bool = False,
    **options: Unpack[Options],
) -> Preview:
    """Return what `migrate`, or `downgrade`, would do. The database is read, and nothing in it is changed.

    With *scripts*, what would be sent is found out as a run does it, by rehearsing in the first placements of each
    group, in transactions that are rolled back. Until then, they hold the locks that the migration takes.

    :param options: those that choose tenants, and those that the scripts depend on; the others say nothing here.
    :raises ConfigurationError: if the environment, the target or an option is wrong.
    """
    require(
        tenancy=(tenancy, TENANCY),
        target=(target, NAME),
        command=(command, one_of(*get_args(Previewed))),
        scripts=(scripts, FLAG),
    )
    check_options("preview", options)
    selection, _ = policy(options)
    line = usable_line(tenancy, target) if command == "migrate" else line_of(tenancy, "tenant")
    shared_line = line_of(tenancy, "shared")
    if scripts:
        require_usable(line)
    phase = options.get("phase")
    if phase == "expand":
        require_no_end(target)
    with rolled_back(tenancy.engine) as connection:
        settings_of(options).limits.require_sense(connection)
        is_current = install_to_read(connection)
        fleet = selection.find(connection)
    with tenancy.engine.connect() as connection:
        # A transaction would hold a lock on each tenant's table, and a server has room for some thousands only.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        current = read_revisions(connection, [tenant.schema for tenant in fleet])
        found = plan_fleet(line, command, target, fleet, current, phase)
        if command == "migrate":
            found = refuse_unversioned(connection, tenancy, line, found)
        there = shared_target(target)
        shared = _plan_shared(tenancy, shared_line, connection, there, phase) if command == "migrate" else None
    groups = {
        (heads, there): plan_group(
            line,
            heads,
            line.steps(command, there, heads),
            [PlannedPlacement(key=each.tenant.key, schema=each.tenant.schema) for each in work],
        )
        for (heads, there), work in group(found.work).items()
    }
    if scripts:
        settings = settings_of(options)
        with (
            handling() as cancellation,
            cancellation.interruptible(),
            closing(Rehearsing(tenancy, shared_line, line, command, settings, cancellation, shared)) as rehearsing,
        ):
            shared = rehearsing.rehearse_shared()
            groups = {key: rehearsing.rehearse(each, key[1]) for key, each in groups.items()}
    return Preview(
        command=command,
        target=target,
        registry_is_current=is_current,
        shared=shared,
        groups=tuple(groups.values()),
        refused=tuple(found.refused),
        unchanged=found.unchanged,
    )


def install_to_read(connection: Connection) -> bool:
    """Have the registry as this version needs it, and from then on only read; return whether it was so already."""
    before = versions.installed_version(connection)
    versions.install(connection)
    is_current = before == versions.installed_version(connection)
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    return is_current


def _plan_shared(
    tenancy: Tenancy, line: Line, connection: Connection, target: str, phase: Phase | None
) -> PlannedGroup | None:
    if line.is_empty:
        return None
    schema = shared_site(tenancy).schema
    heads = read_revisions(connection, [schema]).get(schema, ())
    target = limit(line, target, heads, phase)
    require_versioned_shared(connection, tenancy, line, heads, target)
    steps = line.steps("migrate", target, heads)
    return plan_group(line, heads, steps, [PlannedPlacement(key=SHARED, schema=schema)]) if steps else None


def plan_group(
    line: Line, heads: Heads, steps: Sequence[MigrationStep], placements: Sequence[PlannedPlacement]
) -> PlannedGroup:
    """Return what *steps* do to *placements* that are at *heads*."""
    return PlannedGroup(
        from_revision=join(heads) or None,
        to_revision=join(_after(line, heads, steps)) or None,
        steps=tuple(PlannedStep(revision=name_of(step), message=step.doc or "") for step in steps),
        placements=tuple(placements),
    )


def _after(line: Line, heads: Heads, steps: Sequence[MigrationStep]) -> Heads:
    after = set(heads)
    for step in steps:
        after -= set(step.from_revisions_no_deps)
        after |= set(step.to_revisions_no_deps)
    return tuple(
        sorted(head for head in after if not any(_is_below(line, head, other) for other in after if other != head))
    )


def _is_below(line: Line, revision: str, head: str) -> bool:
    return any(script.revision == revision for script in line.scripts.iterate_revisions(head, "base"))
