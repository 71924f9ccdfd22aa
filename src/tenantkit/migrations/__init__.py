"""Migrations of the shared tables and of every tenant's, with Alembic.

Names are imported on first use: `status` needs a third of the modules that `migrate` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tenantkit.migrations import operations as operations  # registers them for revisions

if TYPE_CHECKING:
    from tenantkit.migrations.authoring.commands import init, revision
    from tenantkit.migrations.authoring.drafting import Position
    from tenantkit.migrations.dry_run.preview import preview
    from tenantkit.migrations.environment.run import run_environment
    from tenantkit.migrations.options import Options
    from tenantkit.migrations.planning.history import Run, failed, get_run, list_runs, unfinished
    from tenantkit.migrations.planning.status import status
    from tenantkit.migrations.results.failures import FailureGroup
    from tenantkit.migrations.results.outcome import Outcome
    from tenantkit.migrations.results.planned import PlannedGroup, PlannedPlacement, PlannedStep, Preview, Rehearsal
    from tenantkit.migrations.results.progress import Blocker, Progress, StepProgress, Waiting
    from tenantkit.migrations.results.report import MigrationReport, Wave
    from tenantkit.migrations.results.status import FleetStatus, PlacementStatus
    from tenantkit.migrations.runs.commands import downgrade, downgrade_run, migrate, stamp
    from tenantkit.migrations.runs.shared import downgrade_shared, stamp_shared, upgrade_shared

__all__ = [
    "Blocker",
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

_MODULES = (
    "results.status",
    "planning.status",
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
)
"""Where they are, in the order of their imports: those of the shortest commands first."""


def __getattr__(name: str) -> Any:
    if name not in __all__:  # such as a module that is about to be imported
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
    value = globals()[name] = next(vars(module)[name] for module in modules if name in vars(module))
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
