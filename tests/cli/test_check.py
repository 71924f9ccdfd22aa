"""The command check: its output, its exit code, and the repairs that it prints."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import URL, Engine, text

from tests.cli.project import Project

OPTIONAL = "column invoices.country: NULL is allowed, not forbidden"


@pytest.fixture
def drifted(fleet: Project, project_engine: Engine) -> Project:
    """The fleet, in which countries are optional for initech."""
    run(project_engine, "ALTER TABLE t_initech.invoices ALTER COLUMN country DROP NOT NULL")
    return fleet


def run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_without_drift_the_exit_code_is_0(fleet: Project) -> None:
    for options in ([], ["--models"]):
        done = fleet.invoke("check", *options)
        assert (done.code, done.err) == (0, "")
        compared = "what the revisions build" if options else "one another"
        assert done.out.splitlines()[1].split() == ["t2", "3", "3", "0", *compared.split()]
        assert done.out.splitlines()[-1].startswith("No drift: ")


def test_an_odd_tenant_is_named_with_its_differences_and_the_exit_code_is_1(drifted: Project) -> None:
    done = drifted.invoke("check")
    assert done.code == 1
    assert done.out.splitlines()[1].split()[:4] == ["t2", "3", "2", "1"]
    assert done.out.splitlines()[-1] == f"initech: {OPTIONAL}"
    assert done.err == "'tenantkit check --sql' prints the SQL that repairs the tenants.\n"
    assert drifted.invoke("check", "--tenants", "acme, umbrella").code == 0


def test_only_the_first_of_many_differences_are_shown(fleet: Project, project_engine: Engine) -> None:
    columns = ", ".join(f"ADD COLUMN extra{number:02} int" for number in range(23))
    run(project_engine, f"ALTER TABLE t_acme.invoices {columns}")
    lines = fleet.invoke("check").out.splitlines()
    assert "acme: column invoices.extra19 should not be there" in lines
    assert "acme: column invoices.extra20 should not be there" not in lines
    assert lines[-1] == "acme: and 3 more differences; --json has them all"


def test_the_sql_repairs_the_differences(drifted: Project, project_url: URL, project_engine: Engine) -> None:
    run(project_engine, 'ALTER TABLE t_acme.invoices ADD COLUMN "a\nDROP TABLE t_acme.invoices; --" int')
    done = drifted.invoke("check", "--sql")
    assert done.code == 1
    comments = [line for line in done.out.splitlines() if line.startswith("--")]
    assert f"-- initech: {OPTIONAL}" in comments
    assert "-- acme: column invoices.a DROP TABLE t_acme.invoices; -- should not be there" in comments
    dsn = project_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(done.out.encode())
    assert drifted.invoke("check").code == 0


def test_json_has_all_differences(drifted: Project) -> None:
    done = drifted.invoke("check", "--json")
    assert done.code == 1
    ((group,), report) = (done.json.pop("groups"), done.json)
    assert (report["has_drift"], report["models"], report["missing"], report["moving"]) == (True, [], [], [])
    assert (group["revision"], group["standard"], group["tenants"], group["alike"]) == ("t2", "majority", 3, 2)
    ((odd,), (difference,)) = (group["odd"], group["odd"][0]["differences"])
    assert odd["tenants"] == ["initech"]
    assert "sql" not in odd
    assert (difference["words"], difference["change"]) == (OPTIONAL, "changed")
    assert (difference["kind"], difference["table"], difference["name"]) == ("column", "invoices", "country")
    assert (difference["expected"]["NULL"], difference["found"]["NULL"]) == ("forbidden", "allowed")
    with_sql = drifted.invoke("check", "--json", "--sql").json["groups"][0]["odd"][0]["sql"]
    assert 'SET LOCAL search_path = "t_initech", ' in with_sql["initech"]


def test_a_tenant_that_is_compared_with_nothing_is_named_and_the_exit_code_is_1(
    fleet: Project, project_engine: Engine
) -> None:
    run(project_engine, "UPDATE t_acme.alembic_version SET version_num = 't1'")
    done = fleet.invoke("check")
    assert done.code == 1
    assert "No drift" not in done.out
    assert any(line.split() == ["t1", "1", "-", "-", "nothing"] for line in done.out.splitlines())
    assert "Compared with nothing, because no other tenant is at the same revision: acme." in done.err
    assert done.err.count("--models") == 1
    assert fleet.invoke("check", "--tenants", "initech").code == 0
    assert fleet.invoke("check", "--json").json["groups"][1]["alone"] == ["acme"]
    assert fleet.invoke("check", "--models").code == 1  # its tables are those of the newest revision


def test_a_difference_that_sql_cannot_repair_is_described(fleet: Project, project_engine: Engine) -> None:
    run(project_engine, "DROP SCHEMA t_acme CASCADE")
    missing = "acme: the schema does not exist; see 'tenantkit doctor'"
    assert missing in fleet.invoke("check").out
    done = fleet.invoke("check", "--sql")
    assert (done.code, done.out, done.err) == (1, "", f"{missing}\n")


def test_revisions_that_differ_from_the_models_are_reported(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", 'op.drop_column("invoices", "note", schema="tenant")')
    done = fleet.invoke("check", "--models")
    assert done.code == 1
    assert done.out.splitlines()[-1] == "revisions: column invoices.note is missing"
    assert "'tenantkit revision --autogenerate' may help" in done.err


def test_without_tenants_there_is_nothing_to_compare(project: Project) -> None:
    done = project.invoke("check")
    assert (done.code, done.out, done.err) == (0, "", "There are no tenants yet.\n")


def test_a_tenant_that_does_not_exist_is_refused(fleet: Project) -> None:
    done = fleet.invoke("check", "--tenants", "nobody")
    assert done.code == 1
    assert "nobody" in done.err
