"""Migrations of the shared tables and of every tenant's, with Alembic."""

from tenantkit.migrations import changes as changes  # operations of ours, for revisions
from tenantkit.migrations.authoring import init, revision
from tenantkit.migrations.drafting import Position
from tenantkit.migrations.environment import run_environment
from tenantkit.migrations.failures import FailureGroup
from tenantkit.migrations.fleet import Options, downgrade, downgrade_run, migrate, stamp
from tenantkit.migrations.history import Run, failed, get_run, list_runs, unfinished
from tenantkit.migrations.planned import PlannedGroup, PlannedPlacement, PlannedStep, Preview, Rehearsal
from tenantkit.migrations.preview import preview
from tenantkit.migrations.report import (
    Advance,
    AdvanceProgress,
    Blocker,
    FleetStatus,
    LossProgress,
    MigrationReport,
    Outcome,
    PlacementStatus,
    Progress,
    Waiting,
    WaitProgress,
    Wave,
    WaveProgress,
)
from tenantkit.migrations.shared import downgrade_shared, stamp_shared, upgrade_shared
from tenantkit.migrations.status import status

__all__ = [
    "Advance",
    "AdvanceProgress",
    "Blocker",
    "FailureGroup",
    "FleetStatus",
    "LossProgress",
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
    "WaitProgress",
    "Waiting",
    "Wave",
    "WaveProgress",
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
