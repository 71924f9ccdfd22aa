"""Three tenants with every kind of object that a schema can have."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tenantkit.drift import DriftReport, check
from tenantkit.postgres.quoting import quote_identifier
from tests.migrations.shapes import shape
from tests.support.models import APPLICATION

KEYS = ("acme", "beta", "gamma")

EVERYTHING = Path(__file__).with_name("everything.sql").read_text()
"""The SQL of the tenants; ``$SCHEMA`` is the tenant's schema."""


def plain(url: URL) -> str:
    """Return a URL for psycopg."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def words_of(report: DriftReport) -> dict[str, list[str]]:
    """Return the differences of each odd tenant, as text."""
    return {key: [str(each) for each in odd.differences] for odd in report.odd for key in odd.schemas}


def run_script(url: URL, script: str) -> None:
    """Run SQL as ``psql`` does, with settings and transactions."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(script.encode())


def in_schema(schema: str, statements: str) -> str:
    """Return a script that runs statements with one schema on the path."""
    return f"BEGIN; SET LOCAL search_path = {quote_identifier(schema)}, pg_temp; {statements}; COMMIT"


@dataclass
class Fleet:
    """The tenants, and helpers that change and read them."""

    tenancy: Tenancy
    url: URL
    engine: Engine

    @property
    def version(self) -> tuple[int | str, ...]:
        """The version of the server."""
        with self.engine.connect() as connection:
            return connection.dialect.server_version_info or ()

    def run(self, key: str, statements: str) -> None:
        """Run statements in the schema of a tenant."""
        run_script(self.url, in_schema(f"t_{key}", statements))

    def everywhere(self, statements: str, keys: tuple[str, ...] = KEYS) -> None:
        """Run statements in the schema of each tenant."""
        for key in keys:
            self.run(key, statements)

    def rows(self, key: str, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the schema of a tenant."""
        with psycopg.connect(plain(self.url)) as connection:
            connection.execute(f'SET search_path = "t_{key}"'.encode())
            return connection.execute(query.encode()).fetchall()

    def check(self, **options: Any) -> DriftReport:
        return check(self.tenancy, **options)

    def words(self, **options: Any) -> dict[str, list[str]]:
        """Return the differences of each odd tenant, as text."""
        return words_of(self.check(**options))

    def repair(self, report: DriftReport) -> str:
        """Run the SQL that repairs every tenant, and return it."""
        script = "\n".join(odd.script(key) for odd in report.odd for key in odd.schemas)
        run_script(self.url, script)
        return script

    def catalog(self, key: str) -> list[str]:
        """Return the catalog by a reader that is independent of shapes."""
        with self.engine.begin() as connection:
            return [line.replace(f'"t_{key}".', "~.") for line in shape(connection, f"t_{key}")]


@pytest.fixture(scope="session")
def fleet_template(make_template: Callable[..., URL], application_template: str) -> str:
    """A database with the tenants."""
    url = make_template(application_template)
    tenancy = Tenancy(url, listen=False, **APPLICATION)
    for key in KEYS:
        tenancy.create(key)
        schema = f"t_{key}"
        run_script(url, in_schema(schema, EVERYTHING.replace("$SCHEMA", quote_identifier(schema))))
    tenancy.close()
    assert url.database
    return url.database


@pytest.fixture
def fleet(make_database: Callable[..., URL], fleet_template: str) -> Generator[Fleet]:
    """The tenants, all alike."""
    url = make_database(fleet_template)
    engine = create_engine(url)
    tenancy = Tenancy(url, listen=False, **APPLICATION)
    yield Fleet(tenancy, url, engine)
    tenancy.close()
    engine.dispose()
