"""``--dry-run`` and ``--sql`` show the steps of a run, and change nothing."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import Engine

from tests.cli.project import Project, Result
from tests.cli.test_fleet import FAILS_FOR_INITECH, columns, revisions
from tests.support.catalog import fingerprint, schemas

ADD = 'op.add_column("invoices", sa.Column("paid", sa.Date), schema="tenant")'


@pytest.fixture
def untouched(fleet: Project, project_engine: Engine) -> Callable[..., Result]:
    """Invoke a command, and check that the database is unchanged."""

    def invoke(*arguments: str) -> Result:
        before = {schema: fingerprint(project_engine, schema) for schema in schemas(project_engine)}
        done = fleet.invoke(*arguments)
        assert {schema: fingerprint(project_engine, schema) for schema in schemas(project_engine)} == before
        return done

    return invoke


def test_a_dry_run_lists_tenants_and_steps(fleet: Project, untouched: Callable[..., Result]) -> None:
    fleet.write(
        "migrations/tenant/t3.py",
        f'"""Say when\n it was paid."""\n{fleet.add_revision("t3", "t2", ADD).read_text()}',
    )
    fleet.add_revision("s2", "s1", "pass", "shared")
    fleet.invoke("downgrade", "t1", "--tenants", "umbrella", "--yes")
    done = untouched("migrate", "--dry-run")
    assert (done.code, done.err) == (0, "Nothing was changed.\n")
    assert done.out.splitlines() == [
        "Shared tables: s1 -> s2",
        "  s2",
        "2 tenants: t2 -> t3",
        "  t3  Say when it was paid.",
        "  acme, initech",
        "1 tenant: t1 -> t3",
        "  t2",
        "  t3  Say when it was paid.",
        "  umbrella",
    ]


def test_a_dry_run_reports_a_current_fleet(untouched: Callable[..., Result]) -> None:
    assert untouched("migrate", "--dry-run").out == "Unchanged: 3 tenants at head already.\n"
    assert untouched("migrate", "--sql").out.splitlines()[-1] == "-- Unchanged: 3 tenants at head already."


def test_json_has_every_placement(fleet: Project, untouched: Callable[..., Result]) -> None:
    fleet.add_revision("t3", "t2", ADD)
    plan = untouched("migrate", "--dry-run", "--json", "--tenants", "acme,umbrella").json
    assert (plan["command"], plan["target"], plan["would_change"], plan["would_fail"]) == ("migrate", "head", 2, 0)
    (group,) = plan["groups"]
    assert group["placements"] == [
        {"key": "acme", "schema": "t_acme"},
        {"key": "umbrella", "schema": "t_umbrella"},
    ]
    assert (group["steps"], group["rehearsal"]) == ([{"revision": "t3", "message": ""}], None)
    script = untouched("migrate", "--sql", "--json").json["groups"][0]["rehearsal"]["script"]
    assert 'ALTER TABLE "t_acme".invoices ADD COLUMN paid DATE' in script


def test_the_printed_sql_can_be_executed_unchanged(
    fleet: Project, untouched: Callable[..., Result], project_engine: Engine
) -> None:
    fleet.add_revision("t3", "t2", ADD)
    fleet.add_revision("s2", "s1", "op.execute('CREATE TABLE shared.plans (id int)')", "shared")
    done = untouched("migrate", "--sql")
    assert done.code == 0
    assert "-- This is for acme. Alembic migrates the first two itself; the others get this" in done.out
    url = project_engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(done.out.encode())
    assert revisions(project_engine, "acme", "initech") == ["t3", "t2"]
    assert "paid" in columns(project_engine, "t_acme")
    again = fleet.invoke("migrate")
    assert (again.code, "Migrated 2 tenants" in again.out) == (0, True)


def test_revisions_without_a_script_are_comments(fleet: Project, untouched: Callable[..., Result]) -> None:
    fleet.add_revision("t3", "t2", "op.get_bind().execute(sa.text('SELECT 1'))")
    done = untouched("migrate", "--sql")
    assert "-- No script: revision t3 uses the database itself (op.get_bind() and the like). Alembic runs" in done.out
    block = "with op.get_context().autocommit_block():\n        op.execute('CREATE TABLE now ()')"
    fleet.add_revision("t3", "t2", block)
    done = untouched("migrate", "--sql")
    assert "-- From t3 on: no script. It has steps outside of a transaction" in done.out
    assert all(line.startswith("--") for line in done.out.splitlines() if line)


def test_certain_failures_are_listed_and_the_exit_code_is_1(
    fleet: Project, untouched: Callable[..., Result], project_engine: Engine
) -> None:
    fleet.add_revision("t3", "t2", FAILS_FOR_INITECH)
    assert untouched("migrate", "--dry-run").code == 0, "nobody knows yet"
    done = untouched("migrate", "--sql", "--tenants", "initech")
    assert done.code == 1
    assert "would fail initech RaiseException: no luck (P0001), in revision t3, " in done.err
    assert "-- No script: the rehearsal failed: RaiseException: no luck" in done.out
    with project_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t_acme.alembic_version SET version_num = 'future'")
    done = untouched("migrate", "--dry-run")
    assert (done.code, "would fail acme" in done.err) == (1, True)


def test_a_downgrade_is_shown_without_a_question(untouched: Callable[..., Result]) -> None:
    done = untouched("downgrade", "-1", "--dry-run")
    assert (done.code, done.out.splitlines()[0]) == (0, "3 tenants: t2 -> t1")
    assert 'ALTER TABLE "t_acme".invoices DROP COLUMN note' in untouched("downgrade", "t1", "--sql").out


@pytest.mark.parametrize(
    "arguments", [("migrate", "--shared-only", "--sql"), ("downgrade", "base", "--shared", "--dry-run")]
)
def test_shared_only_has_no_preview(untouched: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    done = untouched(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Leave out --shared" in done.err
