"""Renaming of a schema that is in use, with what PostgreSQL does not rename with it."""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

from tenantkit.exceptions import SchemaRenameError
from tenantkit.isolation.mentions import find_mentions
from tenantkit.naming import first_lines
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.errors import LOCK_NOT_AVAILABLE
from tenantkit.postgres.quoting import quote_identifier, quote_literal

_PATH = "search_path="
_PATHS = text(
    """
    SELECT pg_proc.oid::regprocedure::text AS called, setting FROM pg_proc, unnest(proconfig) AS setting
    WHERE setting ^@ 'search_path=' AND strpos(replace(setting, '""', '"'), :schema) > 0
    """
)
_CLAIM = text(f"SELECT pg_try_advisory_xact_lock({PLACEMENT.format(schema=':schema')})")
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]+?))\s*(?:,|$)')


def relabel(connection: Connection, schema: str, new: str) -> None:
    """Rename *schema* to *new*, and replace the name in the paths of functions, in the caller's transaction.

    It locks no table, so it neither waits for open transactions nor makes others wait. A transaction that goes on with
    the old name fails (42P01). No other schema may ever get the old name: a function, a prepared statement or a
    subscription may still have it, and would read the other schema.

    :raises SchemaRenameError: if texts name the schema, or a migration is at work on it; its ``sqlstate`` is then that
        of a lock conflict, so the transaction can be repeated.
    """
    for name in sorted((schema, new)):
        if not connection.execute(_CLAIM, {"schema": name}).scalar_one():
            raise SchemaRenameError(
                schema, f"a migration is at work on the schema {name!r}; wait until it ends", LOCK_NOT_AVAILABLE
            )
    if (obstacle := obstacle_to_relabel(connection, schema)) is not None:
        raise SchemaRenameError(schema, obstacle)
    connection.exec_driver_sql(f"ALTER SCHEMA {_quote(schema)} RENAME TO {_quote(new)}")
    for row in connection.execute(_PATHS, {"schema": schema}).all():
        path = read_path(row.setting.removeprefix(_PATH))
        if schema in path:
            names = ", ".join(quote_literal(new if name == schema else name) for name in path)
            connection.exec_driver_sql(f"ALTER ROUTINE {row.called} SET search_path TO {names}".replace("%", "%%"))


def obstacle_to_relabel(connection: Connection, schema: str) -> str | None:
    """Return why *schema* cannot be renamed: the texts that name it, with advice."""
    named = [mention.what for mention in find_mentions(connection, schema) if mention.obstructs]
    if not named:
        return None
    return (
        f"the name {schema!r} is text in {first_lines(named)}, which a rename does not change. Write SQL functions "
        "with BEGIN ATOMIC, others with SET search_path FROM CURRENT and names without a schema, and constants as "
        "'name'::regclass"
    )


def read_path(setting: str) -> list[str]:
    """Return the names in a value of ``search_path`` as PostgreSQL stores it: a list of identifiers."""
    found = (match for match in _ELEMENT.finditer(setting) if match[0])
    return [match[1].replace('""', '"') if match[1] is not None else match[2].lower() for match in found]


def _quote(name: str) -> str:
    return quote_identifier(name).replace("%", "%%")
