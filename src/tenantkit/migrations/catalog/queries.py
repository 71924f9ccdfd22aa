"""Protection of revisions' own queries from the tables, types and constraints of other tenants."""

from __future__ import annotations

import re

from sqlalchemy import TextClause, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.sessions.transactions import INTERNAL

_CATALOG = re.compile(
    r"\b(?:information_schema\s*\.\s*\w+|pg_(?:attribute|class|constraint|enum|index|indexes|matviews|policies|policy|proc"
    r"|sequence|sequences|tables|trigger|type|views))\b",
    re.IGNORECASE,
)
_NAMES_SCHEMA = re.compile(
    r"(?<!information_)schema|nspname|namespace|\breg(?:class|type|proc|procedure)\b|\bto_reg|_is_visible\b",
    re.IGNORECASE,
)


def own_query(sql: str) -> TextClause:
    """Return a query of tenantkit that `require_schema` must not check, because it names objects by their oids."""
    return text(sql).execution_options(**{INTERNAL: True})


def require_schema(statement: str) -> None:
    """Raise if a revision's own SQL reads a catalog without limiting it to a schema.

    A guard such as ``SELECT FROM pg_type WHERE typname = 'mood'`` is right in a database of one schema. In one of many
    tenants, it finds what the first tenant has, and the revision leaves it out in all others.

    :raises ConfigurationError: if so.
    """
    found = _CATALOG.search(statement)
    if found is not None and not _NAMES_SCHEMA.search(statement):
        raise ConfigurationError(
            f"A revision reads {found[0]}, which has the objects of all tenants, and names no schema there. "
            "Limit it to the tenant's, for example by table_schema = current_schema(), or by typnamespace = "
            "current_schema()::regnamespace; or use sa.inspect(op.get_bind())"
        )
