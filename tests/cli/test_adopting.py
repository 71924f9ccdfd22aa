"""`tenantkit adopt --schema`: the tables of a single tenant, and options that do not go together."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.cli.project import Project


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give either --schemas PATTERN, or --schema NAME with --as KEY"),
        (["--schema", "public"], "Give either --schemas PATTERN, or --schema NAME with --as KEY"),
        (["--schema", "public", "--as", "acme", "--schemas", "x_%"], "Give either --schemas"),
        (["--schema", "public", "--as", "acme", "--key-from", "x"], "--schema does not go with --key-from"),
        (["--schemas", "x_%", "--leave-others"], "--schemas does not go with --leave-others"),
    ],
)
def test_options_that_do_not_go_together_are_refused(project: Project, arguments: list[str], words: str) -> None:
    done = project.invoke("adopt", *arguments)
    assert (done.code, words in done.err) == (2, True), done.err


def test_a_schema_is_shown_with_its_obstacles_and_then_moved(project: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE invoices (id serial PRIMARY KEY, country varchar NOT NULL REFERENCES shared.countries, note varchar)"
        )
        connection.exec_driver_sql("CREATE TABLE theirs (id int)")
    done = project.invoke("adopt", "--schema", "public", "--as", "acme", "--dry-run")
    assert done.code == 1
    assert "error: it has tables that are not declared: theirs" in done.err
    done = project.invoke("adopt", "--schema", "public", "--as", "acme", "--leave-others", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert (found["schema"], found["revision"], found["is_stamped"]) == ("t_acme", "t2", True)
    assert (found["moved"], found["staying"], found["obstacles"]) == (["table invoices"], ["table theirs"], [])
    assert project.invoke("migrate").code == 0
    assert project.invoke("show", "acme").code == 0


def test_init_proposes_a_division_of_the_models_and_makes_no_file(project: Project) -> None:
    before = sorted(project.folder.rglob("*"))
    done = project.invoke("init", "--adopt", "shop.app:TenantBase")
    assert done.code == 0, done.err
    assert "invoices" in done.out
    assert "tenantkit adopt --schema public --as KEY --dry-run" in done.err
    found = project.invoke("init", "--adopt", "shop.app:SharedBase.metadata", "--json").json
    assert [(each["table"], each["side"]) for each in found] == [("shared.countries", "tenant")]
    assert "is a SimpleNamespace, not a MetaData" in project.invoke("init", "--adopt", "shop.app:group").err
    assert sorted(path for path in project.folder.rglob("*") if "__pycache__" not in path.parts) == [
        path for path in before if "__pycache__" not in path.parts
    ]
