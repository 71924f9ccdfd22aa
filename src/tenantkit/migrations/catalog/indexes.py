"""Existing indexes: comparison with the index that a statement creates, and removal of those left by interruptions.

``CREATE INDEX CONCURRENTLY`` leaves an invalid index behind when it is interrupted, or fails.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from sqlalchemy import Connection
from typing_extensions import override

from tenantkit.migrations.catalog.copies import copy_table, taking_back
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.postgres.quoting import quote_identifier

logger = logging.getLogger(__name__)

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_CREATE = re.compile(
    rf"\s*CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{_NAME})\s+"
    rf"ON\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)

# An index lies in the schema of its table. Its definition is compared behind the names, which come first in the text.
_FIND = own_query(
    """
    SELECT nspname AS schema, index.relname AS name, index.relkind AS kind,
        on_table.relname AS table,
        indrelid = to_regclass(:table) AS is_on_table, indisvalid AS is_valid, indisunique AS is_unique,
        substr(pg_get_indexdef(index.oid), 1 + length(format(
            'CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN indisunique THEN 'UNIQUE ' END, index.relname,
            CASE WHEN index.relkind = 'I' THEN 'ONLY ' END,
            CASE WHEN pg_namespace.oid = pg_my_temp_schema() THEN 'pg_temp' ELSE nspname END,
            coalesce(on_table.relname, '')
        ))) AS definition,
        (SELECT pid FROM pg_stat_progress_create_index WHERE index_relid = index.oid LIMIT 1) AS builder,
        EXISTS (SELECT FROM pg_inherits WHERE inhrelid = index.oid)
            OR EXISTS (SELECT FROM pg_constraint WHERE conindid = index.oid) AS is_needed
    FROM pg_class index JOIN pg_namespace ON pg_namespace.oid = index.relnamespace
    LEFT JOIN pg_index ON indexrelid = index.oid LEFT JOIN pg_class on_table ON on_table.oid = indrelid
    WHERE index.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(:table))
        AND index.relname = :name
    """
)
_KINDS = {"r": "a table", "p": "a table", "v": "a view", "m": "a materialized view", "S": "a sequence", "c": "a type"}


@dataclass(frozen=True, slots=True)
class NamedIndex:
    """The existing object that has the name of a new index."""

    schema: str
    name: str
    kind: str
    """PostgreSQL's letter for the kind of object, which need not be an index."""
    table: str | None
    is_on_table: bool
    """Whether it is an index of the statement's table."""
    is_valid: bool
    is_unique: bool
    definition: str
    """The part of its definition that follows the name of the table."""
    builder: int | None
    """The number of the process that is building it."""
    is_needed: bool
    """Whether it is a part of a partitioned index or of a constraint."""

    @property
    def is_left_over(self) -> bool:
        """Whether it remains from an interrupted build, so that nothing uses it."""
        return self.is_on_table and not self.is_valid and not self.is_needed and self.builder is None

    def equals(self, other: NamedIndex) -> bool:
        """Return whether both are indexes with the same definition."""
        return bool(self.definition) and (self.definition, self.is_unique) == (other.definition, other.is_unique)

    @override
    def __str__(self) -> str:
        """Return its description for messages."""
        if self.table is None:
            return _KINDS.get(self.kind, "something else")
        words = f"{'' if self.is_valid else 'invalid '}{'unique ' if self.is_unique else ''}index"
        return f"the {words} on {self.table} {self.definition}"


def find_index(connection: Connection, name: str, table: str) -> NamedIndex | None:
    """Return the object called *name* in the schema of *table*, which is quoted; ``None`` if there is none."""
    row = connection.execute(_FIND, {"name": name, "table": table}).one_or_none()
    if row is None:
        return None
    return NamedIndex(
        row.schema,
        row.name,
        row.kind,
        row.table,
        bool(row.is_on_table),
        bool(row.is_valid),
        bool(row.is_unique),
        row.definition or "",
        row.builder,
        bool(row.is_needed),
    )


def read_create_index(statement: str) -> tuple[str, str] | None:
    """Return the name of the index that *statement* creates, and its table's, quoted; ``None`` if it creates none."""
    found = _CREATE.match(statement)
    return None if found is None else (_unquoted(found["name"]), found["table"])


def meant_index(connection: Connection, statement: str) -> NamedIndex:
    """Return the index that a CREATE INDEX statement creates, determined on an empty copy of its table."""
    found = _CREATE.match(statement)
    assert found is not None  # noqa: S101 - the caller has read it
    with taking_back(connection):
        # A copy of the same name, by which an expression may refer to the table.
        copy = copy_table(connection, found["table"], _unquoted(re.findall(_NAME, found["table"])[-1]))
        sql = f"CREATE {found['unique'] or ''}INDEX {found['name']} ON {copy} {found['rest']}"
        connection.exec_driver_sql(sql.replace("%", "%%"))
        made = find_index(connection, _unquoted(found["name"]), copy)
    assert made is not None  # noqa: S101 - it was created
    return made


def drop_left_over(connection: Connection, index: NamedIndex) -> None:
    """Drop an index that remains from an interrupted build, outside of a transaction."""
    logger.warning("drop the index %s of %s, which an interrupted build left invalid", index.name, index.table)
    name = f"{quote_identifier(index.schema)}.{quote_identifier(index.name)}"
    connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}".replace("%", "%%"))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
