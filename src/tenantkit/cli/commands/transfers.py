"""Commands that back up and restore a tenant. Each calls a function of `tenantkit.transfer`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tenantkit import transfer
from tenantkit.cli.application import application
from tenantkit.cli.commands.swapping import as_json_of, print_differences, print_swap, swap_with
from tenantkit.cli.confirm import require_terminal
from tenantkit.cli.display.copying import table_progress
from tenantkit.cli.display.errors import UsageError, print_error
from tenantkit.cli.display.output import err, print_done, print_field, print_json, tenant_as_json
from tenantkit.cli.options.common import Json, OptionalKey, Yes
from tenantkit.tenant import Isolation

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file of a backup.", show_default=False)]


def backup(
    context: typer.Context,
    key: OptionalKey = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The file to write, by default KEY.tenant; with --all, the folder.",
            show_default=False,
        ),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", metavar="", help="Back up each tenant to a file in the folder of --output.")
    ] = False,
    compression: Annotated[
        Literal["zstd", "none"] | None,
        typer.Option("--compression", help="By default zstd, where its library is installed.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a file with the rows of a tenant in one snapshot, and with what else it takes to restore it.

    Requests go on meanwhile; migrations of the tenant wait. The file is complete, or it does not exist.

    **Examples**

    - `tenantkit backup acme`
    - `tenantkit backup acme -o /backups/acme-2026-03-01.tenant`
    - `tenantkit backup --all -o /backups/2026-03-01`
    """
    if everyone:
        if key is not None or output is None:
            raise UsageError("--all is for all tenants, and needs a folder: tenantkit backup --all -o FOLDER.")
        _back_up_all(context, output.absolute(), compression, as_json=as_json)
        return
    if key is None:
        raise UsageError("No tenant is named. Give its key, or --all.")
    path = (output or Path(f"{key}.tenant")).absolute()  # the application may be in another folder
    with application(context) as tenancy, table_progress("Backing up") as progress:
        made = transfer.backup(tenancy, key, path, compression=compression, progress=progress)
    _print_backup(made, "Backed up", as_json=as_json)


def _back_up_all(
    context: typer.Context, folder: Path, compression: Literal["zstd", "none"] | None, *, as_json: bool
) -> None:
    with application(context) as tenancy, table_progress("Backing up") as progress:
        done = transfer.backup_all(tenancy, folder, compression=compression, progress=progress)
    if as_json:
        print_json({"made": [_backup_as_json(each) for each in done.made], "failures": dict(done.failures)})
    else:
        for key, why in done.failures.items():
            print_error(f"{key}: {why}")
        print_done("Backed up", f"{len(done.made):,} of {len(done.made) + len(done.failures):,} tenants, in {folder}")
    if done.failures:
        raise typer.Exit(1)


def _backup_as_json(made: transfer.Backup) -> dict[str, Any]:
    return {**asdict(made), "rows": made.rows}


def verify(context: typer.Context, file: File, *, as_json: Json = False) -> None:
    """Read a backup to its end, and show what it holds. No database is needed.

    **Example**

    - `tenantkit verify acme.tenant`
    """
    _ = context
    _print_backup(transfer.verify(file), "Complete:", as_json=as_json)


def restore(
    context: typer.Context,
    file: File,
    *,
    key: Annotated[
        str | None, typer.Option("--as", metavar="KEY", help="The key of the new tenant.", show_default=False)
    ] = None,
    isolation: Annotated[
        Isolation | None,
        typer.Option("--isolation", help="In place of that of the tenant that was backed up.", show_default=False),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", help="The database to restore it in.", show_default=False),
    ] = None,
    without_domains: Annotated[
        bool, typer.Option("--without-domains", metavar="", help="Do not give the tenant its domains.")
    ] = False,
    suspended: Annotated[bool, typer.Option("--suspended", metavar="", help="Leave the tenant suspended.")] = False,
    swap: Annotated[
        bool,
        typer.Option("--swap", metavar="", help="Then give its tables to the tenant that lives; see `tenantkit swap`."),
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Show what would be done, and change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Create a tenant from a backup, and migrate it to the newest revision. No existing tenant is changed.

    If the tenant of the backup exists, also under another key, the new one is a suspended copy beside it with the key
    `KEY-restored`, and the command shows the tables whose rows differ. After a restore that failed or was killed, the
    same command restores the tenant. A tenant that was suspended when it was backed up is suspended again.

    With `--swap`, it then asks for the tenant's key, and gives the tenant the restored tables.

    **Examples**

    - `tenantkit restore acme.tenant`
    - `tenantkit restore acme.tenant --as beta --isolation database`
    - `tenantkit restore acme.tenant --dry-run`
    - `tenantkit restore acme.tenant --swap`
    """
    if swap and key is not None:
        raise UsageError("--swap restores a copy beside the tenant of the backup, with its own key: leave out --as.")
    if swap and not (yes or dry_run):
        require_terminal()
    chosen: dict[str, Any] = {
        "key": key,
        "isolation": isolation,
        "database": database,
        "domains": not without_domains,
    }
    path = file.absolute()
    if dry_run:
        with application(context) as tenancy:
            plan = transfer.preview(tenancy, path, **chosen)
        _print_plan(plan, as_json=as_json)
        if plan.missing:
            raise typer.Exit(1)
        return
    with application(context) as tenancy:
        if swap and not transfer.preview(tenancy, path, **chosen).is_beside:
            raise UsageError("--swap is for a tenant that exists, and that of the backup does not: leave it out.")
        with table_progress("Restoring") as progress:
            restored = transfer.restore(tenancy, path, suspended=suspended, progress=progress, **chosen)
        if not as_json:
            _print_restored(restored)
        living = restored.plan.living if swap else None
        swapped = None if living is None else swap_with(tenancy, living, restored.tenant.key, yes=yes)
    if as_json:
        print_json({**_restored_as_json(restored), **({"swap": as_json_of(swapped)} if swapped else {})})
    elif swapped is not None:
        print_swap(swapped)


def _print_backup(made: transfer.Backup, verb: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_backup_as_json(made))
        return
    print_done(verb, f"{made.key} (tables: {len(made.tables):,}, rows: {made.rows:,}), in {made.path}")
    print_field("created", f"{made.created_at:%Y-%m-%d %H:%M:%S %Z}")
    print_field("revision", made.revision or "none")
    print_field("size", f"{made.size:,} bytes, {'not compressed' if made.compression == 'none' else made.compression}")


def _print_plan(plan: transfer.RestorePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(plan))
        return
    print_field("key", f"{plan.key}{', a suspended copy beside the tenant' if plan.is_beside else ''}")
    print_field("isolation", plan.isolation)
    print_field("database", plan.database or "as placement= chooses")
    print_field("domains", ", ".join(plan.domains) or "-")
    if plan.domains_left_out:
        print_field("left out", f"{', '.join(plan.domains_left_out)}: other tenants have them")
    print_field("rows", f"{plan.rows:,}")
    print_field("revision", f"{plan.from_revision or 'none'} -> {plan.to_revision or 'none'}")
    for each in plan.missing:
        values = ", ".join("/".join(value) for value in each.values)
        print_field("missing", f"{each.shared_table}: {values}, to which {each.table} refers")


def _restored_as_json(restored: transfer.Restored) -> dict[str, Any]:
    differences = None if restored.differences is None else [asdict(each) for each in restored.differences]
    return {"tenant": tenant_as_json(restored.tenant), "plan": asdict(restored.plan), "differences": differences}


def _print_restored(restored: transfer.Restored) -> None:
    tenant = restored.tenant
    print_done("Restored", f"{tenant.key} (schema {tenant.schema}, rows: {restored.backup.rows:,}, {tenant.status})")
    if restored.plan.domains_left_out:
        err.print(f"Other tenants have these domains: {', '.join(restored.plan.domains_left_out)}.")
    if restored.differences is None:
        return
    if not restored.changed:
        print_done("Equal:", f"{restored.plan.living} has the rows of the backup.")
        return
    print_differences(str(restored.plan.living), tenant.key, restored.changed)
