"""Revisions that are killed after a step outside of a transaction, before their version could be written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import downgrade, migrate
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape

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
    return subprocess.run([sys.executable, "-c", code, url, str(folder)], check=False).returncode


def looks(engine: Engine, *keys: str) -> list[object]:
    with engine.connect() as connection:
        return [(shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in keys]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_was_done_before_the_kill_is_not_in_the_way(
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
        comments = "SELECT count(*) FROM pg_description WHERE description LIKE 'tenantkit: steps%%'"
        assert connection.exec_driver_sql(comments).scalar() == 0


def test_without_an_interruption_what_is_in_the_way_is_told(
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


def test_going_back_after_an_interruption_works_too(
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
