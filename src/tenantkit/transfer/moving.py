"""The move of a tenant into another database, or another isolation, while it is served.

A suspended tenant beside it, ``<key>-move``, gets empty tables in the new home. The rows of a snapshot are sent and
compared, and then what was changed meanwhile. The fence stops writes to the old home for the last changes, and the two
tenants are swapped: so the other tenant has the former home, which refuses writes, until the move is finished or taken
back. To move back is the same the other way round. Where changes cannot be followed, the fence comes first.

If the process dies before the swap, the tenant is served from its old home, and if it has a fence, without writes,
until ``doctor`` or the same call comes. The swap is recorded in the transaction that completes the copy: from then on,
both finish it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from tenantkit.arguments import FLAG, FUNCTION, NAME, number, one_of, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import ConfigurationError, ProvisioningError
from tenantkit.lifecycle.drop import drop
from tenantkit.lifecycle.operation import explained, operating
from tenantkit.lifecycle.swapping import PATIENCE
from tenantkit.lifecycle.tenant_lock import tenant_lock
from tenantkit.registry import store
from tenantkit.status import Status
from tenantkit.tenant import KEY, Isolation, Tenant
from tenantkit.transfer.move_plan import NO_FORMER_HOME, STEP, SUFFIX, Planner, find_copy, is_former_home
from tenantkit.transfer.move_steps import Mover

_FINISHING = "finishing its move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The result of a move, or its plan."""

    tenant: Tenant
    """The tenant in its new home; in a plan, as it is."""
    former: Tenant | None
    """The suspended tenant with its former home, which refuses writes; ``None`` if there is none."""
    steps: tuple[str, ...]
    """Descriptions of what was, or would be, done; none if the tenant is where it is to be."""
    obstacles: tuple[str, ...] = ()
    """In a plan, what would prevent it."""
    rows: int | None = None
    """The number of rows that were copied."""
    stopped: float | None = None
    """The number of seconds for which writes were refused."""


def move(
    tenancy: Deployment,
    key: str,
    *,
    database: str | None = None,
    isolation: str | None = None,
    back: bool = False,
    stop_writes: bool = False,
    patience: float = PATIENCE,
    max_pause: float | None = None,
    dry_run: bool = False,
    progress: Callable[[str, int, int], object] | None = None,
) -> Move:
    """Move a tenant into another database; its key, id, domains and status stay.

    It is served all the time. Its rows are copied in a snapshot and compared, and what changes meanwhile is followed by
    logical replication; for the last changes, its tables refuse writes: a statement that writes raises
    `TenantMovedError`, also afterwards in a process that has not heard of the move. Where changes cannot be followed,
    as on a server without ``wal_level = logical``, writes are refused while the rows are copied; the plan says why.

    The former home stays, and refuses writes, until `finish_move`. After an error, the tenant is served as before. A
    move that was interrupted is finished by the same call, or taken back by ``doctor`` if the rows were not complete;
    one that is done is not done again.

    :param database: the name of the database to move it to, or, with ``isolation="database"``, on whose server.
    :param isolation: ``schema`` or ``database``, in place of the present one.
    :param back: move the tenant to its former home, with the rows that it has now.
    :param stop_writes: refuse writes while the rows are copied, in place of following their changes.
    :param patience: the number of seconds for which to wait for open transactions: those that have written to the
        tables and, before their changes can be followed, those that have written anywhere on the server.
    :param max_pause: the number of seconds for which writes may be refused, after which the tenant is served as before.
        By default 10 if changes are followed, and any number if not.
    :param dry_run: change nothing, and return the steps and the obstacles.
    :param progress: called before each table with its name, its number, and the number of tables.
    :raises TenantNotFoundError: if there is no such tenant.
    :raises TenantUnavailableError: if this version of tenantkit does not know its isolation or its database.
    :raises ConfigurationError: if an argument cannot be used.
    :raises ProvisioningError: if the tenant cannot be moved, or a step failed.
    """
    require(
        tenancy=(tenancy, TENANCY),
        key=(key, KEY),
        database=(database, optional(NAME)),
        isolation=(isolation, optional(one_of(*Isolation))),
        back=(back, FLAG),
        stop_writes=(stop_writes, FLAG),
        patience=(patience, number(0)),
        max_pause=(max_pause, optional(number(0))),
        dry_run=(dry_run, FLAG),
        progress=(progress, optional(FUNCTION)),
    )
    if back == (database is not None or isolation is not None):
        raise ConfigurationError("Say where to move the tenant: database=, isolation= or both, or else back=True.")
    with _working(tenancy, key, STEP) as (connection, tenant), ExitStack() as stack:
        planner = Planner(tenancy, connection, key, back=back, stop_writes=stop_writes)
        if not dry_run:
            stack.enter_context(tenant_lock(connection, tenant.id))
        plan = planner.plan(tenant, database, isolation)
        if dry_run or plan.order is None:
            obstacles = () if plan.order is None else tuple(planner.obstacles(plan, plan.order))
            return Move(tenant=plan.tenant, former=plan.copy, steps=plan.steps, obstacles=obstacles)
        mover = Mover(planner, patience=patience, max_pause=max_pause, progress=progress)
        swapped = mover.run(plan, plan.order)
        return Move(
            tenant=swapped.tenant, former=swapped.copy, steps=plan.steps, rows=mover.rows, stopped=mover.stopped
        )


def finish_move(tenancy: Deployment, key: str) -> Tenant:
    """Drop the former home of a tenant that was moved, with its rows; return the tenant that had it.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises ProvisioningError: if there is no former home, or it cannot be dropped.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY))
    with _working(tenancy, key, _FINISHING) as (connection, tenant), tenant_lock(connection, tenant.id):
        with connection.begin():
            copy = find_copy(connection, key)
        if copy is None or (
            copy.status is not Status.DROPPING and not is_former_home(tenancy, connection, tenant, copy)
        ):
            raise ProvisioningError(key, _FINISHING, NO_FORMER_HOME)
        return drop(tenancy, connection, copy.key)


@contextmanager
def _working(tenancy: Deployment, key: str, step: str) -> Generator[tuple[Connection, Tenant]]:
    """Yield a connection to the main database, without a transaction, and the tenant."""
    with tenancy.lookups.forgetting(key), tenancy.lookups.forgetting(key + SUFFIX), operating(tenancy) as connection:
        with connection.begin():
            tenant = store.get(connection, key)
            tenancy.isolations.of(tenant)
        with explained(tenancy, tenant, step):
            yield connection, tenant
