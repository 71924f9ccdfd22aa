"""Creation of a tenant by a spare: a schema with tables that is ready, gets the tenant's name."""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import shares_transaction
from tenantkit.lifecycle.builders import CheckedBuilder
from tenantkit.lifecycle.choose import choose_database
from tenantkit.lifecycle.order import Order
from tenantkit.postgres.errors import reason, sqlstate
from tenantkit.registry import spares, store
from tenantkit.registry.directory import Directory
from tenantkit.status import Status
from tenantkit.tenant import Isolation, Tenant

_log = logging.getLogger("tenantkit.lifecycle")

_EXPECTED = frozenset({"23505", "3F000", "42883"})
"""SQLSTATEs of a name that is taken, and of a registry that is missing or older."""


class SpareRefusedError(Exception):
    """The database has refused to turn a spare into a tenant; the transaction has failed."""


def claim_spare(
    directory: Directory, connection: Connection, order: Order, build: CheckedBuilder, *, claim: str | None
) -> Tenant | None:
    """Turn a spare into the tenant of *order* in the caller's transaction; return ``None`` if there is none for it.

    :param claim: the mark of the creation that goes on to write the first rows; without one, the tenant is active.
    :raises SpareRefusedError: if the creation from nothing is to find the reason again: a taken domain, for example.
    """
    new = order.new_tenant()
    isolation = directory.isolations.for_new(new)
    if (
        order.becomes is Status.SPARE
        or isolation.name != Isolation.SCHEMA
        or (contents := build.spare_contents) is None
    ):
        return None
    if order.wanted is None and order.policy is not None:
        new = replace(new, database=choose_database(connection, directory.databases, new, order.policy))
    placement = isolation.place(new)
    if not shares_transaction(directory.databases, placement.database):
        return None
    try:
        is_claimed = spares.claim(
            connection,
            key=order.key,
            name=order.name,
            schema=placement.schema,
            status=Status.ACTIVE if claim is None else Status.PROVISIONING,
            claim=claim,
            attributes=order.attributes,
            row_value=order.row_value,
            domains=order.domains,
            database=placement.database,
            contents=contents,
            heads=build.heads,
        )
    except DBAPIError as error:
        level = logging.INFO if sqlstate(error) in _EXPECTED else logging.WARNING
        _log.log(level, "No spare was claimed for a tenant: %s", reason(error))
        raise SpareRefusedError from error
    return store.get(connection, order.key) if is_claimed else None
