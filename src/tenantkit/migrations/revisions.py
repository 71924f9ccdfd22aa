"""Which revision each placement is at: a few queries for any number of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection, text

from tenantkit.migrations.lines import Heads
from tenantkit.naming import quote_identifier, quote_literal

_CHUNK = 50
"""Measured for 500 schemas: in chunks of 50, a third of the time of one large query."""

_VERSION_TABLES = text(
    """
    SELECT nspname,
        EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = 'alembic_version') AS versioned
    FROM pg_namespace WHERE nspname = ANY(:schemas)
    """
)


def read_revisions(connection: Connection, schemas: Collection[str]) -> dict[str, Heads]:
    """Return the revisions that each of *schemas* is at; those that do not exist are left out."""
    exist = {row.nspname: row.versioned for row in connection.execute(_VERSION_TABLES, {"schemas": list(schemas)})}
    found: dict[str, list[str]] = {schema: [] for schema in exist}
    for chunk in _chunks([schema for schema, versioned in exist.items() if versioned]):
        query = " UNION ALL ".join(
            f"SELECT {quote_literal(schema)}, version_num FROM {quote_identifier(schema)}.alembic_version"  # noqa: S608 - quoted
            for schema in chunk
        )
        for schema, revision in connection.execute(text(query.replace(":", r"\:"))):
            found[schema].append(revision)
    return {schema: tuple(sorted(revisions)) for schema, revisions in found.items()}


def _chunks(schemas: Sequence[str]) -> Iterator[list[str]]:
    remaining = iter(schemas)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
