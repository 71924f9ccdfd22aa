"""Databases with tenants of each isolation."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import URL

from benchmarks.fleet.build import create_database
from benchmarks.isolations.application import LIST, ROWS, Base
from tenantkit import Tenancy

OWNER, APP = "bench_owner", "bench_app"
"""The logins that create tenants, and that have sessions. Both own nothing else."""

LOGINS: dict[str, Any] = {"guard": "login", "guard_secret": "a secret of benchmarks, which nobody asks for"}
"""The options of tenants with logins of their own."""

_FILL = "SELECT {tenant}n, n % {lists}, 'item ' || n, n % 1000 FROM {source}generate_series(1, {rows}) AS n"
_COLUMNS = "id, list_id, name, amount"


@dataclass(frozen=True)
class World:
    """One database with tenants, numbered from 0 and called by their numbers."""

    url: URL
    rows: int
    """Rows of each tenant."""
    tenants: list[str]
    values: dict[str, int]
    """The values of the tenant column."""
    databases: int = 0
    """Number of tenants with a database of their own."""
    logins: URL | None = None
    """The database of as many tenants with schemas and logins of their own."""

    def login(self, role: str, url: URL | None = None) -> URL:
        """Return the URL for one of the logins, also of another database."""
        return (url or self.url).set(username=role)


def schema_key(tenant: str) -> str:
    """Return the key of the tenant with a schema of its own."""
    return f"s{tenant}"


def row_key(tenant: str) -> str:
    """Return the key of the tenant in common tables."""
    return f"r{tenant}"


def database_key(number: int) -> str:
    """Return the key of the tenant with a database of its own."""
    return f"d{number}"


def make_database(server: URL, name: str) -> URL:
    """Create a database, whose owner and application have logins."""
    url = create_database(server, name)
    with _connect(url) as connection:
        for role in (OWNER, APP):
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                connection.execute(f"CREATE ROLE {role} LOGIN CREATEDB CREATEROLE".encode())
        connection.execute(f"GRANT CREATE ON DATABASE {name} TO {OWNER}".encode())
    return url


@contextmanager
def owner_of(url: URL, **options: Any) -> Generator[Tenancy]:
    """Yield the tenancy that creates tenants, with the registry installed."""
    own: dict[str, Any] = {"tenant": Base.metadata, "listen": False, "grant_to": APP, **options}
    with closing(Tenancy(url.set(username=OWNER), **own)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA tenantkit TO {APP}")
            connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA tenantkit TO {APP}")
        yield tenancy


def add_schemas(url: URL, tenants: list[str], rows: int, **guard: Any) -> None:
    """Create tenants with schemas and roles of their own, as the *guard* needs them."""
    with owner_of(url, **guard) as tenancy:
        for tenant in tenants:
            tenancy.create(schema_key(tenant))
    fill = _FILL.format(tenant="", lists=rows // LIST, source="", rows=rows)
    with _connect(url) as connection:
        for tenant in tenants:
            connection.execute(f"INSERT INTO t_{schema_key(tenant)}.item ({_COLUMNS}) {fill}".encode())
        connection.execute("ANALYZE")


def add_rows(url: URL, tenants: list[str], rows: int) -> dict[str, int]:
    """Create tenants in common tables, all but the first in bulk, and return their values of the tenant column."""
    with owner_of(url) as tenancy:
        tenancy.create(row_key(tenants[0]), isolation="row")
    fill = _FILL.format(tenant="id, ", lists=rows // LIST, source="tenantkit.tenants, ", rows=rows)
    with _connect(url) as connection:
        connection.execute(
            "INSERT INTO tenantkit.tenants (key, name, status, isolation, database, schema) "
            "SELECT key, key, 'active', 'row', 'main', %s FROM unnest(%s::text[]) AS key",
            (ROWS, [row_key(tenant) for tenant in tenants[1:]]),
        )
        connection.execute(f"INSERT INTO {ROWS}.item (tenant_id, {_COLUMNS}) {fill} WHERE isolation = 'row'".encode())
        connection.execute(f"VACUUM ANALYZE {ROWS}.item".encode())
        found = dict(connection.execute("SELECT key, id FROM tenantkit.tenants").fetchall())
    return {tenant: found[row_key(tenant)] for tenant in tenants}


def add_databases(url: URL, count: int, rows: int) -> None:
    """Create tenants with databases of their own, which the owner's login owns and uses."""
    fill = _FILL.format(tenant="", lists=rows // LIST, source="", rows=rows)
    with owner_of(url, grant_to=()) as tenancy:
        for number in range(count):
            tenancy.create(database_key(number), isolation="database")
            with tenancy.session(database_key(number)) as session:
                session.connection().exec_driver_sql(f"INSERT INTO item ({_COLUMNS}) {fill.replace('%', '%%')}")
                session.commit()


@contextmanager
def _connect(url: URL) -> Generator[psycopg.Connection[Any]]:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection
