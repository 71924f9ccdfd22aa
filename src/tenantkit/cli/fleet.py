"""Commands over the whole fleet: thin skins over `tenantkit.migrations`."""

from __future__ import annotations

from typing import Annotated

import typer

from tenantkit.cli import previewing
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm
from tenantkit.cli.errors import UsageError
from tenantkit.cli.options import (
    DryRun,
    Engine,
    Events,
    Jobs,
    Json,
    LockTimeout,
    Sql,
    StatementTimeout,
    Tenants,
    Yes,
    parse_keys,
)
from tenantkit.cli.running import print_shared, run
from tenantkit.provisioning.locks import LOCK_TIMEOUT

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
    dry_run: DryRun = False,
    sql: Sql = False,
    as_json: Json = False,
    as_events: Events = False,
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
    if shared_only and (dry_run or sql):
        raise UsageError("--dry-run and --sql tell of the shared tables, then of tenants. Leave out --shared-only.")
    with application(context) as tenancy:
        if resume is not None:
            target, keys = migrations.unfinished(tenancy, resume)
        elif retry_failed:
            keys = migrations.failed(tenancy)
        if dry_run or sql:
            found = migrations.preview(
                tenancy,
                target,
                scripts=sql,
                tenants=keys,
                engine=engine,
                lock_timeout=lock_timeout,
                statement_timeout=statement_timeout,
            )
            previewing.show(found, sql=sql, as_json=as_json)
        elif shared_only:
            tenancy.install()
            print_shared(migrations.upgrade_shared(tenancy, target), as_json=as_json, as_events=as_events)
        else:
            run(
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
                as_events=as_events,
            )


def downgrade(
    context: typer.Context,
    target: Target,
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    dry_run: DryRun = False,
    sql: Sql = False,
    yes: Yes = False,
    as_json: Json = False,
    as_events: Events = False,
) -> None:
    """Take every tenant, or the shared tables, back to a revision. What later revisions added is lost.

    **Examples**

    - `tenantkit downgrade -1 --tenants acme`
    - `tenantkit downgrade base --shared --yes`
    """
    from tenantkit import migrations  # noqa: PLC0415 - Alembic, which few commands need, is slow to import

    keys = parse_keys(tenants)
    if shared and (dry_run or sql):
        raise UsageError("--dry-run and --sql tell of tenants. Leave out --shared.")
    with application(context) as tenancy:
        if dry_run or sql:
            found = migrations.preview(tenancy, target, command="downgrade", scripts=sql, tenants=keys)
            previewing.show(found, sql=sql, as_json=as_json)
            return
        whom = "the shared tables" if shared else "every tenant" if keys is None else ", ".join(keys)
        confirm(f"Take {whom} back to {target}? What later revisions added is lost.", yes=yes)
        if shared:
            print_shared(migrations.downgrade_shared(tenancy, target), as_json=as_json, as_events=as_events)
        else:
            run(
                lambda progress: migrations.downgrade(tenancy, target, tenants=keys, jobs=jobs, progress=progress),
                "Downgrading",
                "Downgraded",
                as_json=as_json,
                as_events=as_events,
            )


def stamp(
    context: typer.Context,
    target: Target,
    *,
    tenants: Tenants = None,
    jobs: Jobs = None,
    shared: Shared = False,
    as_json: Json = False,
    as_events: Events = False,
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
            print_shared(migrations.stamp_shared(tenancy, target), as_json=as_json, as_events=as_events)
        else:
            run(
                lambda progress: migrations.stamp(tenancy, target, tenants=keys, jobs=jobs, progress=progress),
                "Stamping",
                "Stamped",
                as_json=as_json,
                as_events=as_events,
            )
