"""Work on the driver's own connection, which differs by driver: psycopg, psycopg for asyncio, asyncpg."""

from __future__ import annotations

import io
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.util import await_only as await_


def fetch(session: Session, query: str) -> list[Any]:
    """Return the first column of *query*."""
    driver, name = _driver(session)
    if name == "asyncpg":
        return [row[0] for row in await_(driver.fetch(query))]
    if name == "psycopg_async":
        return await_(_fetch(driver, query))
    with driver.cursor() as cursor:
        return [row[0] for row in cursor.execute(query)]


def execute(session: Session, statement: str) -> None:
    """Execute a *statement* that returns no rows."""
    driver, name = _driver(session)
    done = driver.execute(statement)
    if name != "psycopg":
        await_(done)


def copy_in(session: Session, statement: str, lines: str) -> None:
    """Send *lines* by ``COPY … FROM STDIN``, and nothing else."""
    driver, name = _driver(session)
    if name == "asyncpg":
        # asyncpg has no method for the text of such a statement: it writes its own.
        table, _, columns = statement.removeprefix("COPY ").partition(" (")
        names = columns.partition(")")[0].split(", ")
        await_(driver.copy_to_table(table, columns=names, source=io.BytesIO(lines.encode())))
    elif name == "psycopg_async":
        await_(_copy_in(driver, statement, lines))
    else:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(lines)


def copy_out(session: Session, query: str) -> list[str]:
    """Return the lines of ``COPY (query) TO STDOUT``."""
    driver, name = _driver(session)
    statement = f"COPY ({query}) TO STDOUT"
    if name == "asyncpg":
        file = io.BytesIO()
        await_(driver.copy_from_query(query, output=file))
        return file.getvalue().decode().splitlines()
    if name == "psycopg_async":
        return await_(_copy_out(driver, statement))
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        return b"".join(copy).decode().splitlines()


def _driver(session: Session) -> tuple[Any, str]:
    dialect = session.get_bind().dialect
    name = "psycopg_async" if dialect.is_async and dialect.driver != "asyncpg" else dialect.driver
    return session.connection().connection.driver_connection, name


async def _fetch(driver: Any, query: str) -> list[Any]:
    async with driver.cursor() as cursor:
        await cursor.execute(query)
        return [row[0] for row in await cursor.fetchall()]


async def _copy_in(driver: Any, statement: str, lines: str) -> None:
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(lines)


async def _copy_out(driver: Any, statement: str) -> list[str]:
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        return [row[0] async for row in copy.rows()]
