"""New databases are copies of a template at the newest revisions, which is replaced when these change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ProvisioningError, Tenancy, drift, migrations
from tenantkit.isolation.database import catalog
from tenantkit.isolation.database import templates as templates_module
from tests.isolation.database.conftest import Make
from tests.isolation.two_databases import Note
from tests.many_databases.conftest import R2
from tests.migrations.environments import Environment

FUNCTION = """
op.execute("CREATE FUNCTION place() RETURNS text LANGUAGE sql AS $$ SELECT '" + op.get_context().version_table_schema + "' $$")
"""


PATH = """
op.execute("CREATE FUNCTION first() RETURNS text LANGUAGE sql SET search_path FROM CURRENT AS 'SELECT text FROM note'")
"""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements about databases."""
    sent: list[str] = []
    execute = catalog.execute

    def record(connection: Any, statement: str) -> None:
        sent.append(statement)
        execute(connection, statement)

    monkeypatch.setattr(catalog, "execute", record)
    return sent


@pytest.fixture
def templates(server: Engine, tenancy: Tenancy) -> Callable[[], list[str]]:
    """Return the templates of the registry."""
    with tenancy.engine.connect() as connection:
        registry = connection.scalar(text("SELECT md5(id::text || oid::text) FROM tenantkit.registry, pg_database "
            "WHERE datname = current_database()"))  # fmt: skip
    query = text("SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE :mark AND "
        "datistemplate AND NOT datallowconn")  # fmt: skip

    def find() -> list[str]:
        with server.connect() as connection:
            return list(connection.scalars(query, {"mark": f"tenantkit template of registry {registry}%"}))

    return find


def _copied(statements: list[str]) -> list[bool]:
    return [
        "TEMPLATE" in each
        for each in statements
        if each.startswith("CREATE DATABASE") and '_template"' not in each.split()[2]
    ]


def test_a_new_database_is_a_copy_and_not_migrated(
    tenancy: Tenancy, statements: list[str], templates: Callable[[], list[str]]
) -> None:
    for key in ("acme", "berta"):
        tenancy.create(key, seed=lambda session: session.add(Note(text=session.tenant.key)))
    assert _copied(statements) == [True, True]
    assert len(templates()) == 1
    for key in ("acme", "berta"):
        with tenancy.session(key) as session:
            assert session.scalars(text("SELECT text FROM note")).all() == [key]
    assert tenancy.diagnose() == []
    assert not drift.check(tenancy, models=True).has_drift
    assert [each.state for each in migrations.status(tenancy).placements] == ["current", "current"]


@pytest.mark.all_cases
def test_a_template_is_replaced_when_the_revisions_change(
    tenancy: Tenancy, make: Make, environment: Environment, statements: list[str], templates: Callable[[], list[str]]
) -> None:
    tenancy.create("acme")
    [before] = templates()
    environment.add("r2", R2)
    newer = make(migrations=environment.folder)
    newer.create("berta")
    [after] = templates()
    assert after != before
    assert _copied(statements) == [True, True]
    assert {each.key: each.revision for each in migrations.status(newer).placements} == {"acme": "r1", "berta": "r2"}


def test_a_tenant_is_created_by_the_revisions_where_no_template_can_be_used(
    tenancy: Tenancy, environment: Environment, statements: list[str], templates: Callable[[], list[str]]
) -> None:
    environment.add("r2", FUNCTION)
    for key in ("acme", "berta"):
        tenant = tenancy.create(key)
        with tenancy.session(key) as session:
            assert session.scalar(text("SELECT place()")) == tenant.schema
    assert _copied(statements) == [False, False]
    assert len(templates()) == 1  # so that it is not made each time


def test_the_path_of_a_function_leads_to_the_schema_of_the_copy(
    tenancy: Tenancy, environment: Environment, statements: list[str]
) -> None:
    environment.add("r2", PATH)
    for key in ("acme", "berta"):
        tenant = tenancy.create(key, seed=lambda session: session.add(Note(text=session.tenant.key)))
        with tenancy.session(key) as session:
            session.execute(text("SET LOCAL search_path TO pg_temp"))
            assert session.scalar(text(f"SELECT {tenant.schema}.first()")) == key
    assert _copied(statements) == [True, True]


def test_tenants_are_created_concurrently_while_the_template_is_made(
    make: Make, environment: Environment, templates: Callable[[], list[str]]
) -> None:
    tenancy = make(migrations=environment.folder, engine_budget=2)
    keys = [f"k{number}" for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert {tenant.status for tenant in pool.map(tenancy.create, keys)} == {"active"}
    assert len(templates()) == 1
    assert not drift.check(tenancy).has_drift


def test_a_template_that_is_gone_is_done_without(
    tenancy: Tenancy, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates_module, "find_or_make", lambda *_: "dropped_meanwhile")
    assert tenancy.create("acme").status == "active"
    assert _copied(statements) == [True, False]


@pytest.mark.all_cases  # PostgreSQL waits for five seconds
def test_a_template_that_is_in_use_is_done_without(
    tenancy: Tenancy, server: Engine, statements: list[str], templates: Callable[[], list[str]]
) -> None:
    tenancy.create("acme")
    [name] = templates()
    with server.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        other = tenancy.databases.engine(f"main/{name}").connect()
        tenancy.create("berta")
        assert _copied(statements) == [True, True, False]
        other.close()
        tenancy.databases.dispose()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')


def test_a_revision_that_fails_is_reported_as_without_a_template(
    tenancy: Tenancy, environment: Environment, templates: Callable[[], list[str]]
) -> None:
    environment.add("r2", 'op.execute("SELECT 1 / 0")')
    with pytest.raises(ProvisioningError, match="division by zero"):
        tenancy.create("acme")
    assert templates() == []
