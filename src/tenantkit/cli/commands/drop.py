"""The command that drops tenants, at once or after a grace period."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tenantkit import lifecycle, transfer
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm_by_typing
from tenantkit.cli.display.errors import UsageError, print_error
from tenantkit.cli.display.output import out, print_done, print_json, tenant_as_json
from tenantkit.cli.options.common import DryRunOfOne, Json, OptionalKey, Yes
from tenantkit.cli.options.times import parse_duration
from tenantkit.registry import store
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant

_DROPPED, _SCHEDULED, _KEPT = "Dropped", "To be dropped:", "Kept"


def drop(
    context: typer.Context,
    key: OptionalKey = None,
    *,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="TIME",
            help="Stop serving it, and drop it after this time by `--due`: 30d, 12h. Until then it can be kept.",
            show_default=False,
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", metavar="", help="Keep a tenant whose drop is scheduled, as it was before.")
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", metavar="", help="Drop all tenants whose time has come; for a cron job.")
    ] = False,
    backup: Annotated[
        Path | None,
        typer.Option(
            "--backup",
            metavar="DIR",
            help="With --due, back up each tenant first, to a file KEY-ID-TIME.tenant.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOfOne = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a tenant and all of its data permanently, or do so after a grace period.

    Asks for the key. After a removal that was interrupted, the same command finishes it. With `--after`, the tenant is
    not served any more, and its data, key and domains stay; `--cancel` gives it back the status that it had. `--due`
    does not ask. If a backup or a removal fails, that tenant stays, and the exit code is 1. So it is if `--dry-run`
    finds obstacles.

    **Examples**

    - `tenantkit drop acme`
    - `tenantkit drop acme --after 30d`
    - `tenantkit drop acme --cancel`
    - `tenantkit drop --due --backup /backups/dropped`
    """
    if sum((after is not None, cancel, due)) > 1:
        raise UsageError("--after, --cancel and --due exclude each other.")
    if backup is not None and not due:
        raise UsageError("--backup is for --due. Before another drop, run 'tenantkit backup'.")
    if dry_run and (after is not None or cancel):
        raise UsageError("--dry-run is for a drop at once, and for --due.")
    if due:
        if key is not None:
            raise UsageError("--due drops all tenants whose time has come. Leave out the key, or --due.")
        _drop_due(context, backup and backup.absolute(), dry_run=dry_run, as_json=as_json)
        return
    if key is None:
        raise UsageError("No tenant is named. Give its key, or --due.")
    grace = parse_duration(after, "--after")
    with application(context) as tenancy:
        if cancel:
            _print(lifecycle.cancel_drop(tenancy, key), _KEPT, as_json=as_json)
            return
        if dry_run:
            _print_plan(lifecycle.preview_drop(tenancy, key), as_json=as_json)
            return
        tenant = _find(tenancy, key)
        if not yes:
            data = f"{tenant.name!r} with all of its data in the schema {tenant.schema!r}"
            when = "This permanently deletes" if after is None else f"After {after}, 'tenantkit drop --due' deletes"
            confirm_by_typing(key, f"{when} {data}.\nType {key!r} to continue")
        tenant = tenancy.drop(key, after=grace)
    _print(tenant, _DROPPED if after is None else _SCHEDULED, as_json=as_json)


def _print_plan(plan: lifecycle.DropPlan, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant": tenant_as_json(plan.tenant), "steps": plan.steps, "obstacles": plan.obstacles})
    else:
        for step in plan.steps:
            out.print(step, soft_wrap=True)
    for obstacle in plan.obstacles:
        print_error(obstacle)
    if plan.obstacles:
        raise typer.Exit(1)


def _drop_due(context: typer.Context, folder: Path | None, *, dry_run: bool, as_json: bool) -> None:
    with application(context) as tenancy:
        back_up = None if folder is None else _backup_to(tenancy, folder)
        result = lifecycle.drop_due(tenancy, before=back_up, dry_run=dry_run)
    if as_json:
        print_json({"dropped": list(map(tenant_as_json, result.dropped)), "failures": dict(result.failures)})
    else:
        for key, why in result.failures.items():
            print_error(f"{key}: {why}")
        for tenant in result.dropped:
            _print(tenant, _SCHEDULED if dry_run else _DROPPED, as_json=False)
        if not result.dropped and not result.failures:
            print_done("Nothing to drop:", "no tenant's time has come")
    if result.failures:
        raise typer.Exit(1)


def _backup_to(tenancy: Tenancy, folder: Path) -> Callable[[Tenant], object]:
    def back_up(tenant: Tenant) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not the key alone: another tenant may get it; and the removal may fail, and be tried again.
        now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        transfer.backup(tenancy, tenant.key, folder / f"{tenant.key}-{tenant.id}-{now}.tenant")

    return back_up


def _find(tenancy: Tenancy, key: str) -> Tenant:
    # Not tenancy.get(), which would open a listener for its cache: this process ends at once.
    with tenancy.engine.connect() as connection:
        return store.get(connection, key)


def _print(tenant: Tenant, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json(tenant_as_json(tenant))
        return
    about = {_KEPT: tenant.status, _SCHEDULED: f"after {tenant.drop_at:%Y-%m-%d %H:%M:%S %Z}" if tenant.drop_at else ""}
    print_done(verb, f"{tenant.key} ({about.get(verb, f'schema {tenant.schema}')})")
