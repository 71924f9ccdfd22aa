"""A revision's query of PostgreSQL's catalogs finds its own tenant's objects, or is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tenantkit import MigrationError, ProvisioningError, Tenancy
from tenantkit.migrations import migrate
from tests.migrations.environments import Environment

BLIND = {
    "columns": "op.get_bind().execute(sa.text(\"SELECT 1 FROM information_schema.columns WHERE table_name = 'note'\"))",
    "driver": "op.get_bind().exec_driver_sql(\"SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'note'\")",
    "type": """
        op.execute('''
            DO $$ BEGIN
                IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN CREATE TYPE mood AS ENUM ('a'); END IF;
            END $$
        ''')
    """,
    "constraint": "op.execute(\"SELECT 1 FROM pg_constraint WHERE conname = 'pk_note'\")",
    "tables": "op.execute(\"SELECT tablename FROM PG_TABLES WHERE tablename = 'note'\")",
}
SEEING = {
    "columns": "SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'note'",
    "class": "SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = 'note'",
    "regclass": "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('note')",
    "visible": "SELECT 1 FROM pg_type WHERE typname = 'note' AND pg_type_is_visible(oid)",
}


@pytest.fixture
def one(environment: Environment) -> Environment:
    environment.add("one", 'op.execute("CREATE TABLE note (id int)")')
    return environment


@pytest.mark.parametrize("case", BLIND)
@pytest.mark.parametrize("engine_name", ["auto", "alembic"])
def test_a_catalog_query_without_a_schema_is_refused_with_a_remedy(
    case: str, engine_name: str, one: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    one.add("two", BLIND[case])
    tenancy = migrated_tenancy()

    with pytest.raises(MigrationError, match=r"has the objects of all tenants.*current_schema\(\)"):
        migrate(tenancy, engine=engine_name, jobs=int(engine_name == "auto"))
    with pytest.raises(ProvisioningError, match="has the objects of all tenants"):
        tenancy.create("globex")


@pytest.mark.parametrize("case", SEEING)
def test_a_catalog_query_with_a_schema_finds_each_tenants_own_objects(
    case: str, one: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = migrated_tenancy()
    for key in "abc":
        tenancy.create(key)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE t_b.note; CREATE TABLE t_b.other (x int)")
    one.add("two", f'if op.get_bind().execute(sa.text("{SEEING[case]}")).first(): op.execute("CREATE TABLE found ()")')

    migrate(migrated_tenancy(), jobs=1)

    with engine.connect() as connection:
        query = "SELECT schemaname FROM pg_tables WHERE tablename = 'found' ORDER BY 1"
        found = connection.exec_driver_sql(query).scalars().all()
    assert found == ["t_a", "t_c"]
