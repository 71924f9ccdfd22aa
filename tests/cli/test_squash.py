"""`tenantkit squash`: by default of a history from nothing, or in place of one that does not start from nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.cli.project import Project


@pytest.fixture
def changing(project: Project, project_engine: Engine) -> Project:
    """A project whose revisions change tables that create_all() has made, in a schema that was adopted."""
    (project.folder / "migrations" / "tenant" / "t1.py").unlink()
    project.add_revision("t2", None, 'op.add_column("invoices", sa.Column("note", sa.String), schema="tenant")')
    with project_engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA old_acme")
        connection.exec_driver_sql(
            "CREATE TABLE old_acme.invoices (id serial PRIMARY KEY, country text NOT NULL REFERENCES shared.countries, note text)"
        )
        connection.exec_driver_sql("ALTER TABLE old_acme.invoices ALTER country TYPE varchar, ALTER note TYPE varchar")
    assert project.invoke("adopt", "--schemas", "old_%").code == 0
    return project


@pytest.mark.all_cases
def test_a_history_that_changes_tables_of_create_all_gets_a_start(changing: Project) -> None:
    for command in (["create", "beta"], ["revision", "--autogenerate", "-m", "x"], ["check", "--models"]):
        done = changing.invoke(*command)
        assert done.code == 1, command
        assert "do not start from nothing: t2, the first" in done.err, command
        assert "tenantkit squash --from-models" in done.err, command
    shown = changing.invoke("squash", "--from-models", "--like", "acme", "--dry-run")
    assert shown.code == 0, shown.err
    assert "CREATE TABLE" in shown.out
    assert "add_column" in (changing.folder / "migrations" / "tenant" / "t2.py").read_text()
    done = changing.invoke("squash", "--from-models", "--like", "acme", "--json")
    assert (done.code, done.json["revision"], done.json["replaced"]) == (0, "t2", [])
    for command in (["create", "beta"], ["check", "--models"], ["lint"], ["migrate"]):
        done = changing.invoke(*command)
        assert done.code == 0, (command, done.err, done.out)
    assert changing.invoke("revision", "--autogenerate", "-m", "x").out == ""
    changing.add_revision("t3", "t2", 'op.add_column("invoices", sa.Column("paid", sa.Date), schema="tenant")')
    assert changing.invoke("migrate").code == 0
    assert "2" in changing.invoke("status").out
    down = changing.invoke("downgrade", "base", "--tenants", "beta", "--yes")
    assert (down.code, "restore a backup" in down.err + down.out) == (1, True)
