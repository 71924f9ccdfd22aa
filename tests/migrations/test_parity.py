"""A revision has the same result for each tenant as plain Alembic for one schema, including names of constraints."""

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
from tests.migrations.parity import forms, operations, statements
from tests.migrations.parity.plain import Plain
from tests.migrations.shapes import differences, look

KEYS = ("alone", "first", "second", "third")
NEW = ("new", "newer", "newest")
STATEMENTS = {**statements.BATCHES, **statements.TEXT, **statements.CONNECTIONS, **forms.ROWS, **forms.BLOCKS}
OF_PLACEHOLDER = {"schema_that_the_database_names"}
"""Cases that need a placeholder, as another name for the schema."""
CASES = {
    **operations.TABLES,
    **operations.COLUMNS,
    **operations.CONSTRAINTS,
    **operations.INDEXES,
    **operations.TYPES,
    **forms.COLUMNS,
    **forms.KEYS,
    **forms.TABLES,
    **STATEMENTS,
}
Way = tuple[str | None, str | None]
WAYS: dict[str, tuple[Way, dict[str, str]]] = {
    "placeholder": (("tenant", "tenant"), CASES),
    "no-schema": ((None, "tenant"), CASES),
    "no-placeholder": ((None, None), {case: code for case, code in STATEMENTS.items() if case not in OF_PLACEHOLDER}),
}
"""The schema in revisions, the placeholder, and the cases to which they apply."""
MARKER = "from tests.migrations.parity import marker"
ENV = f"{MARKER}\nfrom tenantkit.migrations import run_environment\n\nrun_environment(my_option='mine')\n"


def metadata(schema: str | None) -> MetaData:
    return MetaData(schema=schema, naming_convention=operations.CONVENTION)


@pytest.fixture(scope="module")
def template(
    request: pytest.FixtureRequest, make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Way, str, Path]:
    """A database with a fleet at the first revision, and its environment."""
    schema, placeholder = way = request.param
    folder = tmp_path_factory.mktemp("parity") / "migrations"
    init(folder)
    (folder / "env.py").write_text(ENV)
    ini = folder.parent / "alembic.ini"
    ini.write_text(ini.read_text().replace("[tenant]", "[tenant]\nmy_setting = configured"))
    Environment(folder).add("one", f"S = {schema!r}\n{operations.BASE}")
    url = make_template()
    with closing(tenancy_of(url, folder, placeholder)) as tenancy:
        tenancy.install()
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA shared CREATE TABLE country (code text PRIMARY KEY)")
            connection.exec_driver_sql("INSERT INTO shared.country VALUES ('de')")
        for key in KEYS:
            tenancy.create(key)
    assert url.database
    return way, url.database, folder


def tenancy_of(url: URL, folder: Path, placeholder: str | None) -> Tenancy:
    shared = MetaData(schema="shared")
    sa.Table("country", shared, sa.Column("code", sa.Text, primary_key=True))
    tenant = metadata(placeholder)
    return Tenancy(url, shared=shared, tenant=tenant, placeholder=placeholder, migrations=folder, listen=False)


@pytest.mark.some_values(case=20)
@pytest.mark.parametrize(
    ("template", "case"),
    [pytest.param(way, case, id=f"{name}-{case}") for name, (way, cases) in WAYS.items() for case in cases],
    indirect=["template"],
)
def test_a_revision_has_the_same_result_for_each_tenant_as_for_one_schema(
    case: str, template: tuple[Way, str, Path], make_database: Callable[..., URL], tmp_path: Path
) -> None:
    (schema, placeholder), database, folder = template
    shutil.copytree(folder.parent, tmp_path, dirs_exist_ok=True)
    migrations = tmp_path / "migrations"
    Environment(migrations, {"tenant": "one"}).add("two", f"S = {schema!r}\n{dedent(CASES[case])}")
    url = make_database(database)
    Plain(url, migrations / "tenant", metadata(schema), imports=MARKER, my_option="mine").upgrade("head")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        expected = look(connection, "tenant")
        connection.exec_driver_sql("DROP SCHEMA tenant CASCADE")
    with closing(tenancy_of(url, migrations, placeholder)) as tenancy:
        migrate(tenancy, tenants=["alone"], engine="alembic", jobs=0)
        migrate(tenancy, jobs=1)
        for key in NEW:  # the third one by the script of the others, where there is one
            tenancy.create(key)
    with engine.connect() as connection:
        for key in (*KEYS, *NEW):
            assert differences(look(connection, f"t_{key}"), expected) == [], key
