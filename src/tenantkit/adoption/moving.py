"""The tables of an application with a single tenant move to a schema of that tenant, in one transaction."""

from __future__ import annotations

import time

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.adoption.report import TableAdoption
from tenantkit.adoption.tables import Move
from tenantkit.arguments import FLAG, NAME, number, optional, require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.exceptions import AdoptionError, ProvisioningError
from tenantkit.lifecycle.operation import operating
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.naming import validate_key
from tenantkit.postgres import blockers
from tenantkit.postgres.errors import is_lock_conflict, reason
from tenantkit.postgres.limits import limit_lock_waits
from tenantkit.postgres.rights import lack_of_rights
from tenantkit.postgres.table_locks import PAUSE
from tenantkit.registry import versions

_STEP = "moving the tables"


def adopt_tables(
    tenancy: Deployment,
    schema: str,
    key: str,
    *,
    revision: str | None = None,
    leave_others: bool = False,
    allow_differences: bool = False,
    patience: float = 10,
    dry_run: bool = False,
) -> TableAdoption:
    """Make the tables of an application with a single tenant those of a new tenant, and return what was moved.

    The tenant's tables, which the models declare, move from *schema* to a schema of the tenant, with everything else
    there; shared tables, and what these need, stay, or move to the schema that the models say. All of it is one
    transaction. It begins when no other transaction uses the tables, and makes none wait before that.

    :param schema: the name of a schema in the main database, for example ``public``.
    :param key: the key of the new tenant.
    :param revision: the revision that the tables are at, without a version table; by default the newest one.
    :param leave_others: leave tables that the models do not have where they are, with all that the tenant's tables do
        not need. Without it, such tables are refused.
    :param allow_differences: adopt also tables with differences in details; `tenantkit.drift.check` shows them later.
    :param patience: seconds to try to lock the tables for.
    :param dry_run: roll the transaction back, and return the plan with the obstacles.
    :raises AdoptionError: if there is an obstacle; nothing is changed then.
    :raises ProvisioningError: if other transactions used the tables for all of *patience*, or a statement failed.
    :raises InvalidTenantKeyError: if no tenant can have the key.
    :raises ConfigurationError: if an argument cannot be used, or models or revisions cannot be built.
    """
    require(
        tenancy=(tenancy, TENANCY),
        schema=(schema, NAME),
        revision=(revision, optional(NAME)),
        leave_others=(leave_others, FLAG),
        allow_differences=(allow_differences, FLAG),
        patience=(patience, number(least=0)),
        dry_run=(dry_run, FLAG),
    )
    validate_key(key, reserved=tenancy.reserved_keys, prefix=tenancy.application.schema_prefix)
    graph = None if tenancy.migrations is None else graph_of(tenancy, "tenant")
    work = Move(tenancy, graph, schema, key, revision, leave_others, allow_differences, time.monotonic() + patience)
    if not dry_run:
        tenancy.install()
    with tenancy.lookups.forgetting(key), operating(tenancy) as connection:
        plan = _repeat(connection, work, dry_run=dry_run)
    if plan.obstacles and not dry_run:
        raise AdoptionError(plan)
    tenancy.cache.clear()
    return plan


def _repeat(connection: Connection, work: Move, *, dry_run: bool) -> TableAdoption:
    """Do the work in one transaction; repeat it after a lock conflict."""
    while True:
        try:
            with connection.begin() as transaction:
                if dry_run:
                    versions.install(connection)  # rolled back, too
                limit_lock_waits(connection)
                plan = work.run(connection)
                if dry_run or plan.obstacles:
                    transaction.rollback()
                return plan
        except DBAPIError as error:
            if not is_lock_conflict(error):
                why = lack_of_rights(error, connection.engine.url) or reason(error)
                raise ProvisioningError(work.key, _STEP, why) from error
            if time.monotonic() > work.end:
                with connection.begin():
                    who = blockers.describe(blockers.find_holders(connection, work.source)) or "other transactions"
                raise ProvisioningError(
                    work.key, _STEP, f"{who} used the tables all the time; end these, or give more patience="
                ) from error
            time.sleep(PAUSE)
