"""The command that gives a tenant the tables of its restored copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tenantkit import transfer
from tenantkit.cli.application import application
from tenantkit.cli.confirm import confirm_by_typing, require_terminal
from tenantkit.cli.display.errors import print_error
from tenantkit.cli.display.output import out, print_done, print_json, print_table, tenant_as_json
from tenantkit.cli.options.common import DryRunOfOne, Json, Key, Patience, Yes
from tenantkit.lifecycle import Swap
from tenantkit.lifecycle import swap as swap_tenants
from tenantkit.lifecycle.swapping import PATIENCE
from tenantkit.tenancy import Tenancy


def swap(
    context: typer.Context,
    key: Key,
    *,
    copy: Annotated[
        str, typer.Option("--with", metavar="COPY", help="The key of its suspended copy.", show_default=False)
    ],
    back: Annotated[
        bool, typer.Option("--back", metavar="", help="Swap back: the copy has the tenant's former tables.")
    ] = False,
    any_tenant: Annotated[
        bool,
        typer.Option(
            "--any-tenant", metavar="", help="COPY may be a tenant that was not restored from a backup of this one."
        ),
    ] = False,
    patience: Patience = PATIENCE,
    dry_run: DryRunOfOne = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give a tenant the tables of its restored copy while it is served, and the copy its former ones. Asks for the key.

    It shows the tables whose rows differ first. The key, the id, the domains and the status stay with each tenant. The
    former tables refuse writes: no process writes to them that has not heard of the swap. `--back` swaps back. The copy
    is one that `tenantkit restore` has made from a backup of the tenant. The exit code of `--dry-run` is 1 if there are
    obstacles. After an interruption, the same command goes on.

    **Examples**

    - `tenantkit swap acme --with acme-restored --dry-run`
    - `tenantkit swap acme --with acme-restored`
    - `tenantkit swap acme --with acme-restored --back`
    """
    if not (yes or dry_run):
        require_terminal()
    with application(context) as tenancy:
        chosen: dict[str, Any] = {"back": back, "any_tenant": any_tenant, "patience": patience}
        plan = swap_tenants(tenancy, key, copy, dry_run=True, **chosen)
        changed = (
            [] if plan.obstacles else [each for each in transfer.differences(tenancy, key, copy) if not each.is_equal]
        )
        if dry_run and as_json:
            print_json({**as_json_of(plan), "differences": [asdict(each) for each in changed]})
        elif not as_json:
            print_differences(key, copy, changed)
        if dry_run and not as_json:
            for step in plan.steps:
                out.print(step, soft_wrap=True)
        if dry_run:
            for obstacle in plan.obstacles:
                print_error(obstacle)
            if plan.obstacles:
                raise typer.Exit(1)
            return
        done = swap_with(tenancy, key, copy, yes=yes, **chosen)
    if as_json:
        print_json(as_json_of(done))
    else:
        print_swap(done)


def swap_with(tenancy: Tenancy, key: str, copy: str, *, yes: bool, **chosen: Any) -> Swap:
    """Swap a tenant with its *copy*, with options of `tenantkit.lifecycle.swap`, after a person has confirmed it."""
    if not yes:
        confirm_by_typing(
            key,
            f"This gives {key!r} the tables of {copy!r}. What {key!r} has now stays in {copy!r}.\n"
            f"Type {key!r} to continue",
        )
    return swap_tenants(tenancy, key, copy, **chosen)


def print_swap(done: Swap) -> None:
    """Say what was done."""
    tenant, copy = done.tenant, done.copy
    print_done("Swapped", f"{tenant.key} (schema {tenant.schema}) with {copy.key} (schema {copy.schema})")


def print_differences(key: str, copy: str, changed: Iterable[transfer.TableDifference]) -> None:
    """Show the tables whose rows differ, if there are any."""
    rows = [(each.table, _number(each.live), _number(each.restored)) for each in changed]
    if rows:
        print_table(("Rows differ in", f"{key} now", copy), rows)


def as_json_of(done: Swap) -> dict[str, object]:
    """Return a swap, or the plan of one, for JSON."""
    return {
        "tenant": tenant_as_json(done.tenant),
        "copy": tenant_as_json(done.copy),
        "steps": done.steps,
        "obstacles": done.obstacles,
    }


def _number(rows: int | None) -> str:
    return "no table" if rows is None else f"{rows:,}"
