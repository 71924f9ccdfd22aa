"""The application whose fleet is migrated: any number of tables with keys, foreign keys and indexes.

With 40 tables, a tenant has 55 foreign keys, 161 indexes (including those of TOAST tables) and 282 files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
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
    make_url,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from tenantkit import Tenancy
from tenantkit.naming import schema_name

_URL, _FOLDER, _TENANTS, _TABLES = (f"BENCHMARK_FLEET_{name}" for name in ("URL", "FOLDER", "TENANTS", "TABLES"))


@dataclass(frozen=True)
class Fleet:
    """Some tenants in one database, and the folder of their migrations."""

    url: URL
    folder: Path
    tenants: int
    tables: int

    @property
    def keys(self) -> list[str]:
        """The tenants' keys."""
        return [f"fleet{number:04}" for number in range(1, self.tenants + 1)]

    @property
    def schemas(self) -> list[str]:
        """The tenants' schemas."""
        return [schema_name(key) for key in self.keys]

    @property
    def migrations(self) -> Path:
        """The migration environment of tenantkit."""
        return self.folder / "migrations"

    @property
    def dsn(self) -> str:
        """The URL for psycopg itself."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process that works on this fleet."""
        return {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TENANTKIT_APP": f"{__name__}:tenancy",
            _URL: self.url.render_as_string(hide_password=False),
            _FOLDER: str(self.folder),
            _TENANTS: str(self.tenants),
            _TABLES: str(self.tables),
        }

    def tenancy(self, **options: Any) -> Tenancy:
        """Return the tenancy; *options* are those of `Tenancy`."""
        return Tenancy(self.url, tenant=declare("tenant", self.tables), migrations=self.migrations, **options)


def fleet_of_environment() -> Fleet:
    """Return the fleet that the parent process named."""
    return Fleet(
        make_url(os.environ[_URL]), Path(os.environ[_FOLDER]), int(os.environ[_TENANTS]), int(os.environ[_TABLES])
    )


def tenancy() -> Tenancy:
    """Return the tenancy for the command line."""
    return fleet_of_environment().tenancy()


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
