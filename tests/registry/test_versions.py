"""The installation and upgrade of the registry."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, text

from tenantkit import ConfigurationError, Tenancy
from tenantkit.registry import tables, versions
from tests.support.catalog import schemas, structure
from tests.support.processes import until


def test_installing_creates_the_tables_of_the_code(empty_database: URL) -> None:
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        assert versions.installed_version(connection) == 0
        versions.install(connection)
        assert versions.installed_version(connection) == len(versions._STEPS)
        for table in tables.metadata.tables.values():
            columns = text(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 ORDER BY attname"
            )
            found = connection.execute(columns, {"table": table.fullname}).scalars().all()
            assert found == sorted(column.name for column in table.columns)
    engine.dispose()


def test_an_upgraded_registry_equals_a_new_one(
    empty_database: URL, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = create_engine(empty_database)
    steps = versions._STEPS
    for number in range(1, len(steps) + 1):
        monkeypatch.setattr(versions, "_STEPS", steps[:number])
        with older.begin() as connection:
            versions.install(connection)
        if number == 1:
            with older.begin() as connection:
                connection.exec_driver_sql("INSERT INTO tenantkit.runs (command, target) VALUES ('upgrade', 'head')")
    assert structure(older, "tenantkit") == structure(engine, "tenantkit")
    with older.connect() as connection:
        assert connection.exec_driver_sql("SELECT command FROM tenantkit.runs").scalar_one() == "migrate"
    older.dispose()


def test_installing_again_changes_nothing(make_any_tenancy: Callable[..., Any], engine: Engine) -> None:
    before = structure(engine, "tenantkit")
    make_any_tenancy().install()
    assert structure(engine, "tenantkit") == before


def test_processes_that_start_together_install_once(empty_database: URL, make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(database=empty_database, engine_options={"pool_size": 6})
    barrier = Barrier(6)

    def install(_: int) -> None:
        barrier.wait()
        tenancy.install()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(install, range(6)))
    assert "tenantkit" in schemas(tenancy.engine)
    with tenancy.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tenantkit.version").scalar_one() == 1


def test_an_upgrade_that_waits_for_a_lock_lets_lookups_pass(
    empty_database: URL, make_tenancy: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = versions._STEPS
    tenancy = make_tenancy(database=empty_database)
    monkeypatch.setattr(versions, "_STEPS", steps[:6])
    with tenancy.engine.begin() as connection:
        versions.install(connection)
    monkeypatch.setattr(versions, "_STEPS", steps)
    with ThreadPoolExecutor(1) as thread, tenancy.engine.connect() as reader, tenancy.engine.connect() as other:
        reader.exec_driver_sql("SELECT FROM tenantkit.tenants")
        installing = thread.submit(tenancy.install)
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tenantkit.tenants'::regclass)"
        until(lambda: other.exec_driver_sql(waiting).scalar_one())
        other.exec_driver_sql("SELECT FROM tenantkit.tenants")  # as soon as the upgrade gives up for a moment
        assert not installing.done()
        other.rollback()
        reader.rollback()
        installing.result()
    with tenancy.engine.connect() as connection:
        assert versions.installed_version(connection) == len(steps)


def test_an_upgrade_that_waits_for_a_migration_lets_lookups_pass(
    empty_database: URL, make_tenancy: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = versions._STEPS
    tenancy = make_tenancy(database=empty_database)
    monkeypatch.setattr(versions, "_STEPS", steps[:-1])
    with tenancy.engine.begin() as connection:
        versions.install(connection)
    monkeypatch.setattr(versions, "_STEPS", steps)
    locks = "SELECT DISTINCT relation::regclass::text FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
    with ThreadPoolExecutor(1) as thread, tenancy.engine.connect() as migration, tenancy.engine.connect() as other:
        migration.exec_driver_sql("UPDATE tenantkit.outcomes SET attempts = 1")
        installing = thread.submit(tenancy.install)
        until(lambda: other.exec_driver_sql(f"{locks} AND NOT granted").scalar() == "tenantkit.outcomes")
        assert "tenantkit.tenants" not in other.exec_driver_sql(locks).scalars().all()
        migration.rollback()
        other.rollback()
        installing.result()
    with tenancy.engine.connect() as connection:
        assert versions.installed_version(connection) == len(steps)


def test_a_newer_registry_is_refused_and_unchanged(tenancy: Tenancy, engine: Engine) -> None:
    before = structure(engine, "tenantkit")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.version SET version = 99")
    with pytest.raises(ConfigurationError, match="version 99.*Upgrade tenantkit"):
        tenancy.install()
    with engine.connect() as connection:
        assert versions.installed_version(connection) == 99
    assert structure(engine, "tenantkit") == before
