"""The tables of the application: any number of them, with keys, foreign keys and indexes.

With 40 tables, a tenant has 55 foreign keys, 161 indexes (including those of TOAST tables) and 282 files. The first
revision imports this module, so it reads nothing of the process: scripts for new tenants can be recorded.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable


def table_name(number: int) -> str:
    """Return the name of a table."""
    return f"table_{number:02}"


@cache
def declare(schema: str | None, tables: int) -> MetaData:
    """Return *tables* tables in *schema*: each references the one before, two of five another one too."""
    metadata = MetaData(schema=schema)
    prefix = f"{schema}." if schema else ""

    def key_to(number: int) -> ForeignKey:
        return ForeignKey(f"{prefix}{table_name(number)}.id")

    for number in range(tables):
        table = Table(
            table_name(number),
            metadata,
            # Half of the keys are identity columns, half of them serial.
            Column("id", BigInteger, *([Identity()] if number % 2 else []), primary_key=True),
            Column("name", Text, nullable=False),
            Column("code", Text),
            Column("amount", Numeric(12, 2), nullable=False, server_default="0"),
            Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        )
        if number:
            table.append_column(Column("parent_id", BigInteger, key_to(number - 1), index=True))
        if number % 5 in {3, 4}:
            table.append_column(Column("owner_id", BigInteger, key_to(number // 2), index=True))
        if number % 3:
            table.append_constraint(UniqueConstraint("code"))
    return metadata


def create_statements(tables: int) -> list[str]:
    """Return the SQL that creates the tables, without a schema."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements: list[str] = []
    for table in declare(None, tables).sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    return statements
