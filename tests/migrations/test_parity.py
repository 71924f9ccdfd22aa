"""A revision does to each tenant what plain Alembic does to one schema, to the names of constraints and indexes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, MetaData, NullPool, create_engine

from tenantkit import Tenancy
from tenantkit.migrations import init, migrate
from tests.migrations.environments import Environment
from tests.migrations.parity import operations, statements
from tests.migrations.parity.plain import Plain
from tests.migrations.shapes import differences, look

KEYS = ("alone", "first", "second", "third")
CASES = {
    **operations.TABLES,
    **operations.COLUMNS,
    **operations.CONSTRAINTS,
    **operations.INDEXES,
    **operations.TYPES,
    **statements.BATCHES,
    **statements.TEXT,
    **statements.CONNECTIONS,
}
SCHEMAS = pytest.mark.parametrize("schema", ["tenant", None], ids=["placeholder", "no-schema"])
MARKER = "from tests.migrations.parity import marker"
ENV = f"{MARKER}\nfrom tenantkit.migrations import run_environment\n\nrun_environment(my_option='mine')\n"


def metadata() -> MetaData:
    return MetaData(schema="tenant", naming_convention=operations.CONVENTION)


@pytest.fixture(scope="module", params=["tenant", None], ids=["placeholder", "no-schema"])
def template(
    request: pytest.FixtureRequest, make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str | None, str, Path]:
    """A schema, a database with a fleet and a plain schema at the first revision, and their environment."""
    folder = tmp_path_factory.mktemp("parity") / "migrations"
    init(folder)
    (folder / "env.py").write_text(ENV)
    ini = folder.parent / "alembic.ini"
    ini.write_text(ini.read_text().replace("[tenant]", "[tenant]\nmy_setting = configured"))
    Environment(folder).add("one", f"S = {request.param!r}\n{operations.BASE}")
    url = make_template()
    with closing(tenancy_of(url, folder)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shared CREATE TABLE country (code text PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO shared.country VALUES ('de')")
        for key in KEYS:
            tenancy.create(key)
    assert url.database
    return request.param, url.database, folder


def tenancy_of(url: URL, folder: Path) -> Tenancy:
    shared = MetaData(schema="shared")
    sa.Table("country", shared, sa.Column("code", sa.Text, primary_key=True))
    return Tenancy(url, shared=shared, tenant=metadata(), migrations=folder, listen=False)


@pytest.mark.parametrize("case", CASES)
def test_a_revision_does_to_each_tenant_what_alembic_does_to_one_schema(
    case: str, template: tuple[str | None, str, Path], make_database: Callable[..., URL], tmp_path: Path
) -> None:
    schema, database, folder = template
    shutil.copytree(folder.parent, tmp_path, dirs_exist_ok=True)
    migrations = tmp_path / "migrations"
    Environment(migrations, {"tenant": "one"}).add("two", f"S = {schema!r}\n{dedent(CASES[case])}")
    url = make_database(database)
    Plain(url, migrations / "tenant", metadata(), imports=MARKER, my_option="mine").upgrade("head")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        expected = look(connection, "tenant")
        connection.exec_driver_sql("DROP SCHEMA tenant CASCADE")
    with closing(tenancy_of(url, migrations)) as tenancy:
        migrate(tenancy, tenants=["alone"], engine="alembic", jobs=0)
        migrate(tenancy, jobs=1)
        tenancy.create("new")
    with engine.connect() as connection:
        for key in (*KEYS, "new"):
            assert differences(look(connection, f"t_{key}"), expected) == [], key
