"""Commands that stop serving a tenant, and serve it again."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from tenantkit import lifecycle
from tenantkit.cli.application import application
from tenantkit.cli.display.output import err, out, print_done, print_json, tenant_as_json
from tenantkit.cli.options.common import Json, Key
from tenantkit.cli.options.times import parse_duration, parse_time
from tenantkit.lifecycle import Drained
from tenantkit.tenancy import Tenancy
from tenantkit.tenant import Tenant

Message = Annotated[
    str | None,
    typer.Option(
        "--message", "-m", metavar="TEXT", help="What its visitors are told, in one line.", show_default=False
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        help="The end that its visitors are told: a time such as 2030-01-31T08:00Z, or a duration such as 90m. It does "
        "not resume the tenant.",
        show_default=False,
    ),
]
Drain = Annotated[
    str | None,
    typer.Option(
        "--drain",
        metavar="DURATION",
        help="Wait until its transactions in flight have ended, and cut off those that last longer than this: 30s.",
        show_default=False,
    ),
]


def suspend(
    context: typer.Context,
    key: Key,
    *,
    message: Message = None,
    until: Until = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", metavar="", help="Go on serving it, but let its transactions only read.")
    ] = False,
    drain: Drain = None,
    as_json: Json = False,
) -> None:
    """Stop serving a tenant, or let it only be read. All of its data stays. `tenantkit resume` ends it.

    Repeat the command to change the message and the time, or after one that was interrupted.

    **Examples**

    - `tenantkit suspend acme`
    - `tenantkit suspend acme --message "We move your data." --until 2h --drain 30s`
    - `tenantkit suspend acme --read-only`
    """
    wait = parse_duration(drain, "--drain")
    end = parse_time(until, "--until")
    with application(context) as tenancy:
        tenant = tenancy.suspend(key, message=message, until=end, read_only=read_only)
        verb = "Read-only:" if read_only else "Suspended"
        _finish(tenancy, tenant, verb, wait, as_json=as_json)


def resume(context: typer.Context, key: Key, *, as_json: Json = False) -> None:
    """Serve a tenant again that is suspended, read-only or in maintenance.

    **Example**

    - `tenantkit resume acme`
    """
    with application(context) as tenancy:
        tenant = tenancy.resume(key)
        _finish(tenancy, tenant, "Resumed", None, as_json=as_json)


def maintenance(
    context: typer.Context,
    key: Key,
    *,
    message: Message = None,
    until: Until = None,
    drain: Drain = None,
    as_json: Json = False,
) -> None:
    """Stop serving a tenant for a while: its visitors get status 503. `tenantkit resume` ends it.

    **Examples**

    - `tenantkit maintenance acme`
    - `tenantkit maintenance acme --until 10m --drain 30s`
    """
    wait = parse_duration(drain, "--drain")
    end = parse_time(until, "--until")
    with application(context) as tenancy:
        tenant = tenancy.start_maintenance(key, message=message, until=end)
        _finish(tenancy, tenant, "In maintenance:", wait, as_json=as_json)


def _finish(tenancy: Tenancy, tenant: Tenant, verb: str, wait: timedelta | None, *, as_json: bool) -> None:
    """Print the tenant's new state, and wait for its transactions in flight."""
    if not as_json:
        print_done(verb, f"{tenant.key} (schema {tenant.schema})")
    if wait is None:
        drained = None
    else:
        err.print(f"Waiting for transactions in flight, for {wait.total_seconds():g} s at most ...")
        drained = lifecycle.drain(tenancy, tenant.key, wait.total_seconds())
    if as_json:
        print_json({**tenant_as_json(tenant), **({} if drained is None else {"drained": _as_json(drained)})})
    elif drained is not None:
        out.print(_describe(drained), soft_wrap=True)


def _as_json(drained: Drained) -> dict[str, object]:
    return {"waited_for": drained.waited_for, "ended": list(drained.ended)}


def _describe(drained: Drained) -> str:
    if not drained.waited_for:
        return "No transaction was in flight."
    if not drained.ended:
        return f"Transactions in flight that have finished: {drained.waited_for}."
    pids = ", ".join(map(str, drained.ended))
    return f"Transactions in flight: {drained.waited_for}. Cut off: {len(drained.ended)} (process {pids})."
