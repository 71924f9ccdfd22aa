"""Migrations of the shared tables and of every tenant's, with Alembic.

Names are imported on first use: `status` needs a third of the modules that `migrate` does.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names
from tenantkit.migrations import operations as operations  # registers them for revisions

if TYPE_CHECKING:
    from tenantkit.migrations.authoring.commands import init, revision
    from tenantkit.migrations.authoring.drafting import Position
    from tenantkit.migrations.dry_run.preview import preview
    from tenantkit.migrations.environment.run import run_environment
    from tenantkit.migrations.options import Options
    from tenantkit.migrations.planning.databases import databases
    from tenantkit.migrations.planning.history import Run, failed, get_run, list_runs, unfinished
    from tenantkit.migrations.planning.status import status
    from tenantkit.migrations.results.failures import FailureGroup
    from tenantkit.migrations.results.outcome import Outcome
    from tenantkit.migrations.results.planned import PlannedGroup, PlannedPlacement, PlannedStep, Preview, Rehearsal
    from tenantkit.migrations.results.progress import Progress, StepProgress, Waiting
    from tenantkit.migrations.results.report import MigrationReport, Wave
    from tenantkit.migrations.results.status import DatabaseStatus, FleetStatus, PlacementStatus
    from tenantkit.migrations.runs.commands import downgrade, downgrade_run, migrate, stamp
    from tenantkit.migrations.runs.shared import downgrade_shared, stamp_shared, upgrade_shared
    from tenantkit.postgres.blockers import Blocker

__all__ = [
    "Blocker",
    "DatabaseStatus",
    "FailureGroup",
    "FleetStatus",
    "MigrationReport",
    "Options",
    "Outcome",
    "PlacementStatus",
    "PlannedGroup",
    "PlannedPlacement",
    "PlannedStep",
    "Position",
    "Preview",
    "Progress",
    "Rehearsal",
    "Run",
    "StepProgress",
    "Waiting",
    "Wave",
    "databases",
    "downgrade",
    "downgrade_run",
    "downgrade_shared",
    "failed",
    "get_run",
    "init",
    "list_runs",
    "migrate",
    "preview",
    "revision",
    "run_environment",
    "stamp",
    "stamp_shared",
    "status",
    "unfinished",
    "upgrade_shared",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    (  # those of the shortest commands first
        "results.status",
        "planning.status",
        "planning.databases",
        "results.outcome",
        "results.failures",
        "results.report",
        "results.progress",
        "planning.history",
        "options",
        "results.planned",
        "environment.run",
        "runs.shared",
        "runs.commands",
        "authoring.drafting",
        "authoring.commands",
        "dry_run.preview",
    ),
)
