"""The type hstore, whose number differs by database, where databases share a dialect of psycopg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from tenantkit.databases.engines import read_row

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

_NUMBERS = "SELECT oid, typarray FROM pg_catalog.pg_type WHERE oid = to_regtype('hstore')"


def leave_out_hstore(engine: Engine) -> None:
    """Keep the dialect of *engine* from knowing hstore by the number that it has in the first database."""
    dialect: Any = engine.dialect
    if dialect.driver == "psycopg" and dialect.use_native_hstore:
        dialect.use_native_hstore = False


def register_hstore(engine: Engine) -> None:
    """Let connections of *engine* know hstore by the number that it has in their database."""
    dialect: Any = engine.dialect
    if dialect.driver != "psycopg" or not dialect._has_native_hstore:  # noqa: SLF001 - by which its types decide
        return
    found: list[Any] = []

    def register(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # psycopg needs libpq, which may be missing.
        from psycopg.types import TypeInfo, hstore  # noqa: PLC0415

        if not found:
            row = read_row(connection, _NUMBERS)
            found.append(TypeInfo("hstore", *row) if row else None)
        if found[0] is not None:
            hstore.register_hstore(found[0], dialect.get_driver_connection(connection))

    event.listen(engine, "connect", register)
