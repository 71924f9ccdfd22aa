"""A revision must not end its transaction, and its session state ends with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import migrate, status
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]


ONE = 'op.execute("CREATE TABLE a (x integer)")'


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, ("k0", "k1", "k2"))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of a fleet of three tenants at revision one."""
    environment.add("one", ONE)
    return migrated_tenancy


def tables(engine: Engine) -> list[str]:
    """Return the tables named new, and all in public."""
    query = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename LIKE 'new%%' OR schemaname = 'public'"
    with engine.connect() as connection:
        return sorted(connection.exec_driver_sql(query).scalars())


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("op.get_bind().commit()", r"called commit\(\).*autocommit_block"),
        ('op.execute("COMMIT")', "executed a statement that ends.*autocommit_block"),
        ('op.execute("/* so */ SELECT 1; Commit; CREATE TABLE new3 ()")', "executed a statement that ends"),
        ('op.get_bind().exec_driver_sql("-- so\\n ROLLBACK")', "executed a statement that ends"),
        ("op.get_bind().rollback()", "ended its transaction"),
    ],
)
def test_a_revision_that_ends_its_transaction_fails_and_is_rolled_back(
    fleet: Make, environment: Environment, engine: Engine, ending: str, message: str
) -> None:
    environment.add("two", f'op.execute("CREATE TABLE new1 ()")\n{ending}\nop.execute("CREATE TABLE new2 ()")')
    with pytest.raises(MigrationError, match=f"0 migrated, 0 unchanged, 3 failed.*{message}"):
        migrate(fleet(), jobs=1)
    assert tables(engine) == []
    assert status(fleet()).counts == {"one": 3}


def test_a_revision_that_commits_creates_no_incomplete_tenant(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.execute("CREATE TABLE new ()")\nop.get_bind().commit()')
    tenancy = fleet()
    with pytest.raises(Exception, match=r"called commit\(\)"):
        tenancy.create("late")
    assert tables(engine) == []
    environment.remove("two")
    environment.add("three", 'op.execute("CREATE TABLE new ()")', after="one")
    assert fleet().create("late").status == "active"
    assert tables(engine) == ["t_late.new"]


def test_savepoints_and_sessions_may_end(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add(
        "two",
        """
        from sqlalchemy.orm import Session
        with Session(op.get_bind()) as session:
            session.execute(sa.text("CREATE TABLE new1 ()"))
            session.commit()
        with op.get_bind().begin_nested():
            op.execute("CREATE TABLE new2 ()")
        op.execute("SAVEPOINT here")
        op.execute("ROLLBACK TO SAVEPOINT here")
        """,
    )
    migrate(fleet(), jobs=1)
    assert tables(engine) == [f"t_k{number}.new{table}" for number in range(3) for table in (1, 2)]


def test_session_state_of_a_revision_ends_with_its_tenant(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add(
        "two",
        """
        op.execute("CREATE TEMP TABLE work (x integer)")
        op.execute("CREATE TABLE new AS SELECT current_user AS role_now, current_setting('statement_timeout') AS timeout")
        op.execute("SET statement_timeout = '9s'")
        """,
    )
    migrate(fleet(), jobs=1)
    with engine.connect() as connection:
        found = {tuple(connection.exec_driver_sql(f"SELECT * FROM t_k{n}.new").one()) for n in range(3)}
    assert len(found) == 1
    assert {timeout for _, timeout in found} == {"0"}


LEFT = {
    "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "prepared statement": 'PREPARE "Every Row" AS SELECT 1',
    "temporary table": "CREATE TEMP TABLE work ()",
    "value of a sequence": "CREATE SEQUENCE s; SELECT nextval('s')",
}


@pytest.mark.parametrize("how", [{"jobs": 1}, {"jobs": 1, "engine": "alembic"}], ids=["replay", "alembic"])
@pytest.mark.parametrize("left", LEFT)
def test_a_revision_may_leave_an_object_in_its_session_for_each_tenant(
    left: str, how: dict[str, Any], fleet: Make, environment: Environment, engine: Engine
) -> None:
    fails = (
        "op.execute(\"DO $$ BEGIN PERFORM lastval(); RAISE 'lastval'; EXCEPTION WHEN SQLSTATE '55000' THEN END $$\")"
    )
    environment.add("two", f"{fails}\nop.execute({LEFT[left]!r})\nop.execute('CREATE TABLE new ()')")
    migrate(fleet(), **how)
    assert tables(engine) == [f"t_k{number}.new" for number in range(3)]


def test_a_changed_search_path_ends_with_its_revision(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", 'op.execute("SET search_path = public")')
    environment.add("three", 'op.execute("CREATE TABLE new ()")')
    migrate(fleet(), jobs=1)
    assert tables(engine) == [f"t_k{number}.new" for number in range(3)]


def test_a_failure_reports_the_revision_that_an_autocommit_block_committed(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", 'op.execute("CREATE TABLE new ()")')
    environment.add("three", "with op.get_context().autocommit_block():\n    op.execute('SELECT 1/0')")
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), jobs=1)
    assert {(o.from_revision, o.to_revision) for o in caught.value.report.failures} == {("one", "two")}
    assert status(fleet()).counts == {"two": 3}
    assert tables(engine) == [f"t_k{number}.new" for number in range(3)]
