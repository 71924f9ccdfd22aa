"""Templates: databases with the tables of a new tenant, which are copied for each.

A template permits no connections, so none can prevent a copy. It is never changed: when the revisions change,
another one is made, and the old one is dropped. All functions need a connection that is outside of transactions, to
another database of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tenantkit.databases.base import own_key, split_key
from tenantkit.isolation.database import catalog
from tenantkit.isolation.mentions import find_mentions
from tenantkit.naming import MAX_IDENTIFIER_BYTES
from tenantkit.postgres.advisory_locks import TEMPLATE
from tenantkit.postgres.errors import sqlstate
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.tenant import Placement, Tenant

logger = logging.getLogger("tenantkit.templates")

SCHEMA = "tenantkit_template"
"""The schema of the tables in a template, which a copy renames."""
COPIES_QUICKLY = 15
"""The first version of PostgreSQL that copies a database without two checkpoints."""
UNUSABLE = frozenset({"3D000", "55006"})
"""SQLSTATEs of a copy whose template was dropped meanwhile, or is in use."""


def _mark_of(registry: str) -> str:
    return f"tenantkit template of registry {registry}"


def _name(prefix: str, contents: str) -> str:
    """Return the name of a template. No tenant's database has it, as ``~`` is in no key."""
    end = f"~template_{sha256(contents.encode()).hexdigest()[:16]}"
    return prefix.encode()[: MAX_IDENTIFIER_BYTES - len(end)].decode(errors="ignore") + end


def find_or_make(
    connection: Connection, prefix: str, tenant: Tenant, contents: str, fill: Callable[[Tenant], bool]
) -> str | None:
    """Return the name of a template for the database of *tenant*; ``None`` if there is none to be had now.

    :param prefix: the beginning of its name.
    :param contents: the text that determines the contents of the template.
    :param fill: makes the contents for a tenant that does not exist, whose database is the future template; returns
        whether copies of it can be used.
    """
    version: Any = connection.dialect.server_version_info
    if version < (COPIES_QUICKLY,):
        return None
    registry = tenant.registry
    name = _name(prefix, f"{registry} {contents}")
    if (comment := catalog.read_comment(connection, name)) is not None:
        return name if comment == _mark_of(registry) else None
    if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({TEMPLATE})").scalar_one():
        return None  # another process makes it
    try:
        made = _make(connection, name, tenant, fill)
        if made is not None:
            _drop_others(connection, name, registry)
    finally:
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({TEMPLATE})")
    return made


def _make(connection: Connection, name: str, tenant: Tenant, fill: Callable[[Tenant], bool]) -> str | None:
    registry = tenant.registry
    unfinished = f"tenantkit_{registry}_template"
    quoted = quote_identifier(unfinished)
    server, _ = split_key(tenant.placement.database)
    model = replace(tenant, id=0, key=SCHEMA, placement=Placement(own_key(server, unfinished), SCHEMA))
    try:
        _drop(connection, unfinished)
        catalog.execute(connection, f"CREATE DATABASE {quoted}")
        catalog.execute(connection, f"REVOKE CONNECT, TEMPORARY ON DATABASE {quoted} FROM PUBLIC")
        is_usable = fill(model)
        mark = _mark_of(registry) if is_usable else f"{_mark_of(registry)}, with the name of its schema in texts"
        catalog.execute(connection, f"COMMENT ON DATABASE {quoted} IS {quote_literal(mark)}")
        catalog.execute(connection, f"ALTER DATABASE {quoted} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
        catalog.execute(connection, f"ALTER DATABASE {quoted} RENAME TO {quote_identifier(name)}")
    except Exception:
        logger.warning("No template could be made, so tenants are created by their revisions.", exc_info=True)
        return None
    return name if is_usable else None


def _drop_others(connection: Connection, name: str, registry: str) -> None:
    query = text(
        "SELECT datname FROM pg_database WHERE datname <> :name AND shobj_description(oid, 'pg_database') ^@ :mark"
    )
    for other in connection.execute(query, {"name": name, "mark": _mark_of(registry)}).scalars().all():
        try:
            _drop(connection, other)
        except DBAPIError as error:  # it is being copied, or another process drops it
            logger.info("The template %s was not dropped: SQLSTATE %s", other, sqlstate(error))


def _drop(connection: Connection, name: str) -> None:
    if catalog.read_comment(connection, name) is not None:
        catalog.execute(connection, f"ALTER DATABASE {quote_identifier(name)} WITH IS_TEMPLATE false")
        catalog.drop(connection, name)


def names_its_schema(connection: Connection) -> bool:
    """Return whether texts in a template have the name of its schema, so that it cannot be renamed.

    :param connection: to the template.
    """
    return any(mention.obstructs for mention in find_mentions(connection, SCHEMA))
