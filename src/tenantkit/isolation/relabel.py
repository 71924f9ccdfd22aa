"""Renaming of a schema that is in use, with what PostgreSQL does not rename with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, text

from tenantkit.exceptions import SchemaRenameError
from tenantkit.isolation.mentions import Mention, find_mentions
from tenantkit.naming import first_lines
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.errors import LOCK_NOT_AVAILABLE
from tenantkit.postgres.quoting import quote_identifier, quote_literal

_PATH = "search_path="
_PATHS = text(
    """
    SELECT pg_proc.oid::regprocedure::text AS called, setting FROM pg_proc, unnest(proconfig) AS setting
    WHERE setting ^@ 'search_path=' AND strpos(replace(setting, '""', '"'), :schema) > 0
        AND (CAST(:within AS text) IS NULL OR pronamespace = to_regnamespace(quote_ident(:within)))
    """
)
_CLAIM = text(
    "SELECT name FROM (SELECT unnest(CAST(:names AS text[])) AS name) AS names "  # noqa: S608 - ours
    f"WHERE NOT pg_try_advisory_xact_lock({PLACEMENT.format(schema='name')})"
)
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]+?))\s*(?:,|$)')


def relabel(connection: Connection, schema: str, new: str, *, is_checked: bool = False) -> tuple[str, ...]:
    """Rename *schema* to *new*, and replace the name in the paths of functions, in the caller's transaction.

    Return descriptions of the comments and the settings of roles that keep the former name.

    It locks no table, so it neither waits for open transactions nor makes others wait. A transaction that goes on with
    the old name fails (42P01). No other schema may ever get the old name: a function, a prepared statement or a
    subscription may still have it, and would read the other schema.

    :param is_checked: whether the caller knows that no text names the schema, such as one that it has just made. The
        search for texts reads the catalog of the whole database.
    :raises SchemaRenameError: if texts name the schema, or a migration is at work on it; its ``sqlstate`` is then that
        of a lock conflict, so the transaction can be repeated.
    """
    for busy in connection.execute(_CLAIM, {"names": [schema, new]}).scalars():
        raise SchemaRenameError(
            schema, f"a migration is at work on the schema {busy!r}; wait until it ends", LOCK_NOT_AVAILABLE
        )
    mentions = [] if is_checked else find_mentions(connection, schema)
    if (obstacle := obstacle_in(schema, mentions)) is not None:
        raise SchemaRenameError(schema, obstacle)
    connection.exec_driver_sql(f"ALTER SCHEMA {_quote(schema)} RENAME TO {_quote(new)}")
    replace_in_paths(connection, schema, lambda path: [new if name == schema else name for name in path])
    return tuple(each.what for each in mentions if not each.obstructs)


def replace_in_paths(
    connection: Connection, schema: str, change: Callable[[list[str]], list[str]], within: str | None = None
) -> None:
    """Set the path of every function that has *schema* in it to what *change* returns for the present one.

    :param within: the schema of these functions; by default any.
    """
    paths = [
        (row.called, read_path(row.setting.removeprefix(_PATH)))
        for row in connection.execute(_PATHS, {"schema": schema, "within": within})
    ]
    changes = [
        f"ALTER ROUTINE {called} SET search_path TO {', '.join(map(quote_literal, change(path)))}"
        for called, path in paths
        if schema in path
    ]
    if changes:
        connection.exec_driver_sql("; ".join(changes).replace("%", "%%"))


def obstacle_in(schema: str, mentions: Iterable[Mention]) -> str | None:
    """Return why *schema* cannot be renamed, if *mentions* have texts that a rename would break, with advice."""
    named = [mention.what for mention in mentions if mention.obstructs]
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
