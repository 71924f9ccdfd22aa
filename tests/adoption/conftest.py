"""An application that has made a schema for each organization by itself."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from tenantkit import Tenancy
from tenantkit.postgres.quoting import quote_identifier
from tests.support.models import TenantBase


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


@dataclass
class Legacy:
    """The schemas of that application."""

    engine: Engine

    def make(self, *schemas: str, revision: str | None = None) -> None:
        """Make schemas with the tables of the models, and Alembic's version table if a revision is given."""
        for schema in schemas:
            place = quote_identifier(schema)
            run(self.engine, f"CREATE SCHEMA {place}")
            with self.engine.begin() as connection:
                connection.execution_options(schema_translate_map={"tenant": schema})
                TenantBase.metadata.create_all(connection)
                insert = f"INSERT INTO {place}.project (name) VALUES (%s)"
                connection.exec_driver_sql(insert.replace("%", "%%").replace("%%s", "%s"), (schema,))
            if revision is not None:
                run(
                    self.engine,
                    f"CREATE TABLE {place}.alembic_version (version_num varchar(32) PRIMARY KEY)",
                    f"INSERT INTO {place}.alembic_version VALUES ('{revision}')",
                )


@pytest.fixture
def legacy(
    engine: Engine, tenancy: Tenancy
) -> Legacy:  # a tenancy puts the types of models into the schema of their table
    """That application, without schemas yet."""
    return Legacy(engine)
