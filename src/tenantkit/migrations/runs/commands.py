"""Commands on a fleet: migrate, downgrade and stamp."""

from __future__ import annotations

from typing_extensions import Unpack

from tenantkit.arguments import FLAG, NAME, require, whole
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.migrations.options import Options
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.results.report import MigrationReport
from tenantkit.migrations.runs.fleet import run_fleet
from tenantkit.migrations.runs.requests import downgrading, migrating, stamping, taking_back
from tenantkit.migrations.runs.shared import shared_revision, upgrade_shared


def migrate(tenancy: Deployment, target: str = "head", **options: Unpack[Options]) -> MigrationReport:
    """Bring the registry and the shared tables to their newest version, then every tenant to *target*.

    Each tenant has a transaction of its own. A tenant that fails keeps its revision, and the run continues with the
    others; the same call again migrates those that are not done. Concurrent runs share the work.

    :param target: a revision as Alembic takes it: ``head``, ``heads``, an id or its beginning, ``+1``.
    :param options: see `Options`.
    :raises MigrationError: with the report, if a tenant failed or the run was stopped.
    :raises ConfigurationError: if the environment, the target or an option is wrong; nothing was changed then.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    request = migrating(tenancy, target, options)

    def shared() -> Outcome | None:
        chosen = request.options
        return upgrade_shared(tenancy, shared_revision(target), phase=chosen.phase, limits=chosen.settings.limits)

    return run_fleet(tenancy, request, migrate_shared=shared)


def downgrade(tenancy: Deployment, target: str, **options: Unpack[Options]) -> MigrationReport:
    """Take every tenant back to *target* (an id, ``-1``, ``base``); the shared tables stay. Otherwise as `migrate`."""
    require(tenancy=(tenancy, TENANCY), target=(target, NAME))
    return run_fleet(tenancy, downgrading(tenancy, target, options))


def downgrade_run(tenancy: Deployment, run_id: int, **options: Unpack[Options]) -> MigrationReport:
    """Undo a run: take each tenant that it migrated back to its revision before the run.

    A tenant that was migrated since is not touched, and counts as a failure. Otherwise as `downgrade`.

    :raises ConfigurationError: if there is no such run, if it migrated no tenant, or if it was not a migration.
    """
    require(tenancy=(tenancy, TENANCY), run_id=(run_id, whole()))
    return run_fleet(tenancy, taking_back(tenancy, run_id, options))


def stamp(tenancy: Deployment, target: str, *, purge: bool = False, **options: Unpack[Options]) -> MigrationReport:
    """Record that every tenant is at *target*, without running a revision. Otherwise as `migrate`.

    :param purge: delete the rows of each version table first: for tenants whose revision has no file any more, or whose
        rows contradict each other.
    """
    require(tenancy=(tenancy, TENANCY), target=(target, NAME), purge=(purge, FLAG))
    return run_fleet(tenancy, stamping(tenancy, target, options, purge=purge))
