"""The command that shows the fleet's revisions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.text import Text

from tenantkit import migrations
from tenantkit.cli.application import application
from tenantkit.cli.display.errors import without_passwords
from tenantkit.cli.display.output import err, out, print_json, print_table, status_text
from tenantkit.cli.options.common import Json
from tenantkit.migrations import FleetStatus, PlacementStatus

_SHOWN = 20

_STYLES = {"current": "green", "behind": "yellow"}


def status(
    context: typer.Context,
    *,
    check: Annotated[
        bool, typer.Option("--check", metavar="", help="Exit with 1 unless everything is at its head.")
    ] = False,
    phase: Annotated[
        Literal["expand"] | None,
        typer.Option("--phase", help="Tenants are current if `migrate --phase expand` has nothing to do for them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the number of tenants at each revision, those that are behind, and failed migrations.

    **Examples**

    - `tenantkit status`
    - `tenantkit status --check`
    - `tenantkit status --check --phase expand`
    - `tenantkit status --json | jq -r '.placements[] | select(.error) | .key'`
    """
    with application(context) as tenancy:
        fleet = migrations.status(tenancy, phase=phase)
    if as_json:
        print_json(
            {
                "heads": fleet.heads,
                "shared_heads": fleet.shared_heads,
                "shared_revision": fleet.shared_revision,
                "is_current": fleet.is_current,
                "counts": [{"revision": revision, "tenants": count} for revision, count in fleet.counts.items()],
                "behind": [placement.key for placement in fleet.behind],
                "failed": [placement.key for placement in fleet.failed],
                "placements": [asdict(placement) for placement in fleet.placements],
            }
        )
    else:
        _print(fleet)
    if check and not fleet.is_current:
        raise typer.Exit(1)


def _print(fleet: FleetStatus) -> None:
    shared = _state("current" if fleet.shared_is_current else "behind")
    out.print(Text.assemble(("Shared tables  ", "bold"), fleet.shared_revision or "no revision", "  ", shared))
    if not fleet.placements:
        err.print("There are no tenants yet.")
        return
    out.print()
    states = {placement.revision: placement.state for placement in fleet.placements}
    print_table(
        ("Revision", "Tenants", "State"),
        [(revision or "none", str(count), _state(states[revision])) for revision, count in fleet.counts.items()],
    )
    scheduled = [(placement.drop_at, placement.key) for placement in fleet.placements if placement.drop_at]
    if scheduled:
        next_at, key = min(scheduled)
        out.print()
        out.print(f"To be dropped: {len(scheduled)}, the next one after {next_at:%Y-%m-%d %H:%M %Z} ({key})")
    if fleet.behind:
        out.print()
        shown = sorted(fleet.behind, key=lambda placement: (placement.error is None, placement.key))
        print_table(("Tenant", "Status", "Revision", "State", "Last failure"), map(_row, shown[:_SHOWN]))
        if len(shown) > _SHOWN:
            out.print(f"and {len(shown) - _SHOWN} more: --json has them all.", style="dim")


def _row(placement: PlacementStatus) -> tuple[str | Text, ...]:
    return (
        placement.key,
        status_text(placement.status),
        placement.revision or "none",
        _state(placement.state),
        without_passwords(placement.error or ""),
    )


def _state(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, "red"))
