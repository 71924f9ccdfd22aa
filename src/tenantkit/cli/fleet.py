"""Commands over the whole fleet: thin skins over `tenantkit.migrations`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm
from tenantkit.cli.errors import UsageError, print_error
from tenantkit.cli.options import Engine, Jobs, Json, LockTimeout, StatementTimeout, Tenants, Yes, parse_keys
from tenantkit.cli.output import err, print_done, print_json
from tenantkit.cli.progress import FleetProgress
from tenantkit.exceptions import MigrationError
from tenantkit.provisioning.locks import LOCK_TIMEOUT

if TYPE_CHECKING:
    from tenantkit.migrations import MigrationReport, Outcome

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A revision: an id or its beginning, base, -1.", show_default=False)
]
Shared = Annotated[bool, typer.Option("--shared", metavar="", help="The shared tables, and no tenant.")]


def migrate(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A revision: head, heads, an id or its beginning, +1.")
    ] = "head",
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    engine: Engine = "auto",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
    statement_timeout: StatementTimeout = None,
    resume: Annotated[
        int | None,
        typer.Option(
            "--resume", metavar="RUN", help="Finish an earlier run: its target, its tenants.", show_default=False
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", metavar="", help="Only the tenants whose last migration failed.")
    ] = False,
    shared_only: Annotated[
        bool, typer.Option("--shared-only", metavar="", help="Stop after the shared tables.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Migrate the registry, the shared tables, then every tenant.

    Alembic migrates the first two tenants; what it sent is replayed for the others where that is safe. Each has a
    transaction of its own. One that fails keeps the revision it had and stops no other; the exit
    code is then 1, and the same command again takes up those that are not done.

    **Examples**

    - `tenantkit migrate`
    - `tenantkit migrate --tenants acme,initech --jobs 4`
    - `tenantkit migrate +1`
    - `tenantkit migrate --resume 12`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import

    keys = parse_keys(tenants)
    if sum((tenants is not None, resume is not None, retry_failed)) > 1:
        raise UsageError("--tenants, --resume and --retry-failed each choose the tenants. Give one of them.")
    with application(context) as tenancy:
        if resume is not None:
            target, keys = migrations.unfinished(tenancy, resume)
        elif retry_failed:
            keys = migrations.failed(tenancy)
        if shared_only:
            tenancy.install()
            _print_shared(migrations.upgrade_shared(tenancy, target), as_json=as_json)
        else:
            _run(
                lambda progress: migrations.migrate(
                    tenancy,
                    target,
                    tenants=keys,
                    jobs=jobs,
                    engine=engine,
                    lock_timeout=lock_timeout,
                    statement_timeout=statement_timeout,
                    progress=progress,
                ),
                "Migrating",
                "Migrated",
                as_json=as_json,
            )


def downgrade(
    context: typer.Context,
    target: Target,
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take every tenant, or the shared tables, back to a revision. What later revisions added is lost.

    **Examples**

    - `tenantkit downgrade -1 --tenants acme`
    - `tenantkit downgrade base --shared --yes`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import

    keys = parse_keys(tenants)
    with application(context) as tenancy:
        whom = "the shared tables" if shared else "every tenant" if keys is None else ", ".join(keys)
        confirm(f"Take {whom} back to {target}? What later revisions added is lost.", yes=yes)
        if shared:
            _print_shared(migrations.downgrade_shared(tenancy, target), as_json=as_json)
        else:
            _run(
                lambda progress: migrations.downgrade(tenancy, target, tenants=keys, jobs=jobs, progress=progress),
                "Downgrading",
                "Downgraded",
                as_json=as_json,
            )


def stamp(
    context: typer.Context,
    target: Target,
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    as_json: Json = False,
) -> None:
    """Write down that tenants, or the shared tables, are at a revision, without running anything.

    For schemas that were made by other means.

    **Example**

    - `tenantkit stamp head --tenants acme`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import

    keys = parse_keys(tenants)
    with application(context) as tenancy:
        if shared:
            _print_shared(migrations.stamp_shared(tenancy, target), as_json=as_json)
        else:
            _run(
                lambda progress: migrations.stamp(tenancy, target, tenants=keys, jobs=jobs, progress=progress),
                "Stamping",
                "Stamped",
                as_json=as_json,
            )


def _run(work: Callable[[FleetProgress], MigrationReport], doing: str, done: str, *, as_json: bool) -> None:
    """Run *work* with a progress bar and print its report, of failures too."""
    started = monotonic()
    try:
        with FleetProgress(doing) as progress:
            report = work(progress)
    except MigrationError as error:
        report = error.report
        if report.shared is not None and not report.shared.ok:
            raise
    except KeyboardInterrupt:
        print_error("Interrupted. 'tenantkit status' tells who is done; run the same again to go on with the others.")
        raise
    if as_json:
        print_json(_as_json(report))
    else:
        if report.shared is not None:
            _print_shared(report.shared, as_json=False)
        _print_counts(report, done, seconds=monotonic() - started)
    if report.failures:
        raise typer.Exit(1)


def _print_shared(outcome: Outcome | None, *, as_json: bool) -> None:
    if as_json:
        print_json(None if outcome is None else asdict(outcome))
    elif outcome is None:
        print_done("Unchanged:", "the shared tables were there already.")
    else:
        print_done("Shared tables:", f"{outcome.from_revision or 'base'} -> {outcome.to_revision or 'base'}")


def _print_counts(report: MigrationReport, done: str, *, seconds: float) -> None:
    if report.migrated:
        print_done(done, f"{_tenants(len(report.migrated))} to {report.target} in {seconds:.1f} s.")
    for reason, count in report.not_replayed.items():
        err.print(f"Not replayed for {_tenants(count)}: {reason}.", style="dim", soft_wrap=True)
    if report.unchanged or not report.outcomes:
        print_done("Unchanged:", f"{_tenants(report.unchanged)} at {report.target} already.")
    if report.failures:
        print_error(
            f"{_tenants(len(report.failures))} failed. Mend the cause and run the same again: "
            "tenants that are done are not touched."
        )


def _tenants(count: int) -> str:
    return f"{count} tenant{'' if count == 1 else 's'}"


def _as_json(report: MigrationReport) -> dict[str, Any]:
    return {
        "run_id": report.run_id,
        "command": report.command,
        "target": report.target,
        "migrated": len(report.migrated),
        "unchanged": report.unchanged,
        "failed": len(report.failures),
        "not_replayed": dict(report.not_replayed),
        "shared": None if report.shared is None else asdict(report.shared),
        "outcomes": [{**asdict(outcome), "ok": outcome.ok} for outcome in report.outcomes],
    }
