"""Revisions that are killed after a step outside of a transaction, before their version is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import downgrade, migrate
from tenantkit.registry.revisions import MARK
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support import commands
from tests.support.processes import until

Make = Callable[..., Tenancy]

KILLED = 9

ONE = """
op.create_table("a", sa.Column("x", sa.Integer), sa.Column("y", sa.Integer), schema="tenant")
op.execute("CREATE INDEX old ON a (y)")
op.execute("CREATE TYPE mood AS ENUM ('a')")
"""

STEPS = {
    "create": 'op.create_index("ix", "a", ["x"], schema="tenant", postgresql_concurrently=True)',
    "create as text": 'op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix ON a (x)")',
    "drop": 'op.drop_index("old", "a", schema="tenant", postgresql_concurrently=True)',
    "drop as text": 'op.execute("drop index concurrently old")',
    "enum": "op.execute(\"ALTER TYPE mood ADD VALUE 'b'\")",
}


def revision(step: str, dies: Path) -> str:
    """Return a revision that is killed after its step if the file *dies* is there."""
    return f"""
import os, pathlib
with op.get_context().autocommit_block():
    {step}
    if pathlib.Path({str(dies)!r}).exists():
        os.kill(os.getpid(), {KILLED})
"""


def run(tenancy: Tenancy, folder: Path) -> int:
    """Migrate in a process of its own, in which Alembic itself runs; return its exit code."""
    url = tenancy.engine.url.render_as_string(hide_password=False)
    code = (
        "import sys; from sqlalchemy import MetaData; from tenantkit import Tenancy; from tenantkit.migrations import migrate\n"
        "migrate(Tenancy(sys.argv[1], tenant=MetaData(schema='tenant'), migrations=sys.argv[2], listen=False), jobs=0)"
    )
    return commands.run(code, url, str(folder), program="-c", cwd=Path.cwd(), environment=os.environ).returncode


def looks(engine: Engine, *keys: str) -> list[object]:
    with engine.connect() as connection:
        return [(shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in keys]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_steps_before_the_kill_do_not_prevent_a_second_run(
    step: str, environment: Environment, migrated_tenancy: Make, engine: Engine, tmp_path: Path
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    for key in ("killed", "undisturbed", "comment"):
        tenancy.create(key)
    dies = tmp_path / "dies"
    environment.add("two", revision(step, dies))
    migrate(tenancy, jobs=0, tenants=["undisturbed"])
    dies.touch()
    assert run(tenancy, environment.folder) == -KILLED
    dies.unlink()

    migrate(migrated_tenancy(), jobs=0)

    killed, undisturbed, other = looks(engine, "killed", "undisturbed", "comment")
    assert killed == undisturbed == other
    with engine.connect() as connection:
        comments = text("SELECT count(*) FROM pg_description WHERE starts_with(description, :mark)")
        assert connection.execute(comments, {"mark": MARK}).scalar() == 0


def test_without_an_interruption_existing_objects_are_an_error(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX ix ON t_acme.a (y)")
    environment.add("two", revision(STEPS["create"], Path("nowhere")), 'op.execute("SELECT 1")')

    with pytest.raises(MigrationError, match='relation "ix" already exists'):
        migrate(migrated_tenancy(), jobs=0)


def test_a_downgrade_after_an_interruption_works_too(
    environment: Environment, migrated_tenancy: Make, engine: Engine, tmp_path: Path
) -> None:
    environment.add("zero", "pass")
    environment.add("one", ONE, 'op.execute("DROP TABLE a")\nop.execute("DROP TYPE mood")')
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    dies = tmp_path / "dies"
    environment.add("two", revision(STEPS["create"], dies), "pass")
    dies.touch()
    assert run(tenancy, environment.folder) == -KILLED

    downgrade(migrated_tenancy(), "zero", jobs=0)

    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_class WHERE relname = 'ix'").scalar() == 0
        assert connection.exec_driver_sql("SELECT version_num FROM t_acme.alembic_version").scalar() == "zero"


def indexes(engine: Engine) -> dict[str, bool]:
    """Return the indexes named ix, by schema, and whether each is valid."""
    query = """
        SELECT nspname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relname = 'ix'
    """
    with engine.connect() as connection:
        return {row.nspname: row.indisvalid for row in connection.exec_driver_sql(query)}


def end_in_the_middle(engine: Engine, build: Callable[[], int], function: str) -> None:
    """Start to build an index, and end the build by one of PostgreSQL's functions while it waits for a writer."""
    with engine.connect() as writer, ThreadPoolExecutor() as threads:
        try:
            writer.exec_driver_sql("INSERT INTO t_acme.a VALUES (1, 1)")  # the writer also prevents a drop of the index
            code = threads.submit(build)
            until(lambda: indexes(engine) == {"t_acme": False})
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    f"SELECT {function}(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%%'"
                )
            assert code.result() != 0
        finally:
            writer.commit()


@pytest.mark.all_cases
@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
@pytest.mark.parametrize(
    "step",
    [STEPS["create"], 'op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON a (x)")'],
    ids=["", "if not there"],
)
def test_an_index_whose_build_was_interrupted_is_built_again(
    step: str, function: str, environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    environment.add("two", revision(step, Path("nowhere")))
    end_in_the_middle(engine, lambda: run(tenancy, environment.folder), function)

    migrate(migrated_tenancy(), jobs=0)

    assert indexes(engine) == {"t_acme": True}


def test_an_index_that_could_not_be_built_is_removed(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t_acme.a VALUES (1, 1), (1, 2)")
    environment.add("two", revision(STEPS["create as text"], Path("nowhere")))
    with pytest.raises(MigrationError, match="could not create unique index"):
        migrate(migrated_tenancy(), jobs=0)

    assert indexes(engine) == {}
    environment.remove("two")
    environment.add("other", 'op.create_index("ix", "a", ["x"], schema="tenant")', after="one")
    migrate(migrated_tenancy(), jobs=0)
    assert indexes(engine) == {"t_acme": True}


def test_an_index_that_another_session_is_building_is_not_dropped(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    environment.add("two", 'op.execute("SELECT 1")')
    with engine.connect() as writer, ThreadPoolExecutor() as threads:
        writer.exec_driver_sql("INSERT INTO t_acme.a VALUES (1, 1)")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as builder:
            built = threads.submit(builder.exec_driver_sql, "CREATE INDEX CONCURRENTLY ix ON t_acme.a (x)")
            until(lambda: indexes(engine) == {"t_acme": False})
            try:
                migrate(migrated_tenancy(), jobs=0)
            finally:
                writer.commit()
            built.result()

    assert indexes(engine) == {"t_acme": True}
