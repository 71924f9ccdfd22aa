"""Revisions and checks refuse columns whose operators are not on a tenant's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, ProvisioningError, Tenancy
from tenantkit.drift import check
from tenantkit.migrations import migrate
from tests.migrations.environments import Environment
from tests.support.extensions import execute

Make = Callable[..., Tenancy]


@pytest.mark.parametrize(
    ("extension", "table"),
    [
        ("fuzzystrmatch", "CREATE TABLE t (x text DEFAULT soundex('anne'))"),
        ("pg_trgm", "CREATE TABLE t (x text); CREATE INDEX ON t USING gin (x gin_trgm_ops)"),
        ("unaccent", "CREATE TABLE t (x text CHECK (x = unaccent(x)))"),
    ],
)
def test_the_error_for_a_missing_function_or_operator_class_names_extra_schemas(
    extension: str, table: str, make_tenancy: Make, environment: Environment, engine: Engine
) -> None:
    execute(engine, f'CREATE EXTENSION "{extension}" SCHEMA public')
    environment.add("one", f"op.execute({table!r})")
    with pytest.raises(ProvisioningError, match=rf"schema 'public' \(extension {extension}\).*extra_schemas="):
        make_tenancy(migrations=environment.folder).create("acme")
    make_tenancy(migrations=environment.folder, extra_schemas=["public"]).create("acme")


@pytest.mark.usefixtures("citext")
@pytest.mark.parametrize("engine_name", ["auto", "alembic"])
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("kind", ["citext", "public.citext"])
def test_migrate_refuses_such_a_column_for_every_tenant(
    kind: str, jobs: int, engine_name: Any, make_tenancy: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("one", 'op.create_table("person", sa.Column("id", sa.Integer))')
    keys = ["a", "b", "c"]
    for key in keys:
        make_tenancy(migrations=environment.folder).create(key)
    environment.add("two", f'op.execute("ALTER TABLE person ADD email {kind}")')
    with pytest.raises(MigrationError) as error:
        migrate(make_tenancy(migrations=environment.folder), jobs=jobs, engine=engine_name)
    failures = error.value.report.failures
    assert {outcome.key for outcome in failures} == set(keys)
    for outcome in failures:
        assert "extra_schemas=('public',)" in outcome.error
        assert "'public'" in outcome.error
    assert len({outcome.error for outcome in failures}) == 1
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT count(*) FROM pg_attribute WHERE attname = 'email' AND NOT attisdropped")
        )
        assert found.scalar() == 0
    report = migrate(
        make_tenancy(migrations=environment.folder, extra_schemas=["public"]), jobs=jobs, engine=engine_name
    )
    assert len(report.migrated) == len(keys)


@pytest.mark.usefixtures("citext")
def test_check_refuses_such_a_column(make_tenancy: Make, environment: Environment, engine: Engine) -> None:
    environment.add("one", 'op.execute("CREATE TABLE person (email public.citext)")')
    make_tenancy(migrations=environment.folder, extra_schemas=["public"]).create("acme")
    make_tenancy(migrations=environment.folder, extra_schemas=["public"]).create("beta")
    with pytest.raises(ConfigurationError, match=r"person\.email \(public\.citext\).*extra_schemas=\('public',\)"):
        check(make_tenancy(migrations=environment.folder))
    assert not check(make_tenancy(migrations=environment.folder, extra_schemas=["public"])).has_drift
