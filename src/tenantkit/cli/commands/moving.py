"""The command that moves a tenant to another database."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tenantkit import transfer
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm_by_typing, require_terminal
from tenantkit.cli.display.copying import table_progress
from tenantkit.cli.display.errors import UsageError, print_error
from tenantkit.cli.display.output import out, print_done, print_json, tenant_as_json
from tenantkit.cli.options.common import DryRunOfOne, Json, Key, Patience, Yes
from tenantkit.lifecycle.swapping import PATIENCE
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Isolation


def move(
    context: typer.Context,
    key: Key,
    *,
    database: Annotated[
        str | None, typer.Option("--database", metavar="NAME", help="The database to move it to.", show_default=False)
    ] = None,
    isolation: Annotated[
        Isolation | None,
        typer.Option("--isolation", help="`schema` or `database`, in place of its own.", show_default=False),
    ] = None,
    back: Annotated[
        bool, typer.Option("--back", metavar="", help="Move it to its former home, with the rows that it has now.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", metavar="", help="Drop its former home. There is no way back then.")
    ] = False,
    stop_writes: Annotated[
        bool,
        typer.Option("--stop-writes", metavar="", help="Refuse writes while the rows are copied, for a shorter move."),
    ] = False,
    patience: Patience = PATIENCE,
    max_pause: Annotated[
        float | None,
        typer.Option(
            "--max-pause",
            metavar="SECONDS",
            min=0,
            help="How long writes may be refused, else the tenant stays; by default 10 if its changes are followed.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOfOne = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Move a tenant to another database while it is served. Asks for the key.

    Its rows are copied and compared while reads and writes go on, and logical replication follows their changes. Its
    tables refuse writes for the last ones: such requests get status 503 and `Retry-After`. Where the servers or the
    tables do not permit that, they do so all the time that rows are copied; `--dry-run` says why.

    The former home stays in a suspended tenant `KEY-move`, and refuses writes, until `--finish` drops it; until then,
    `--back` moves the tenant back, with all that was written. After an error, the tenant is served as before. After an
    interruption, the same command goes on. The exit code of `--dry-run` is 1 if there are obstacles.

    **Examples**

    - `tenantkit move acme --database eu --dry-run`
    - `tenantkit move acme --database eu`
    - `tenantkit move acme --isolation database`
    - `tenantkit move acme --back`
    - `tenantkit move acme --finish`
    """
    if finish + back + (database is not None or isolation is not None) != 1:
        raise UsageError("Give --database, --isolation or both; or else --back or --finish.")
    if finish and dry_run:
        raise UsageError("--dry-run shows the steps of a move: leave out --finish.")
    if not (yes or dry_run):
        require_terminal()
    with application(context) as tenancy:
        if finish:
            _finish(tenancy, key, yes=yes, as_json=as_json)
            return
        where = partial(
            transfer.move, tenancy, key, database=database, isolation=isolation, back=back, stop_writes=stop_writes
        )
        plan = where(dry_run=True)
        if dry_run:
            _print_plan(plan, as_json=as_json)
            return
        if not yes:
            confirm_by_typing(
                key,
                "\n".join((*(f"- {step}" for step in plan.steps), f"Type {key!r} to continue")),
            )
        with table_progress("Moving") as progress:
            done = where(patience=patience, max_pause=max_pause, progress=progress)
    if as_json:
        print_json(_as_json(done))
    else:
        _print_move(done)


def _finish(tenancy: Tenancy, key: str, *, yes: bool, as_json: bool) -> None:
    if not yes:
        confirm_by_typing(
            key, f"This drops the former home of {key!r}, with its rows.\nType {key!r} to drop it permanently"
        )
    former = transfer.finish_move(tenancy, key)
    if as_json:
        print_json({"dropped": tenant_as_json(former)})
    else:
        print_done("Dropped", f"{former.key} (schema {former.schema} in the database {former.placement.database})")


def _print_plan(plan: transfer.Move, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(plan))
    else:
        for step in plan.steps:
            out.print(step, soft_wrap=True)
    for obstacle in plan.obstacles:
        print_error(obstacle)
    if plan.obstacles:
        raise typer.Exit(1)


def _print_move(done: transfer.Move) -> None:
    place = f"{done.tenant.key} (schema {done.tenant.schema} in the database {done.tenant.placement.database})"
    if not done.steps:
        print_done("Unchanged:", f"{place} is there already")
    elif done.rows is None or done.stopped is None:
        print_done("Moved", place)  # a move that was interrupted
    else:
        print_done("Moved", f"{place}; rows: {done.rows:,}; without writes for {done.stopped:.2f} s")


def _as_json(done: transfer.Move) -> dict[str, object]:
    return {
        "tenant": tenant_as_json(done.tenant),
        "former": None if done.former is None else tenant_as_json(done.former),
        "steps": done.steps,
        "obstacles": done.obstacles,
        "rows": done.rows,
        "stopped": done.stopped,
    }
