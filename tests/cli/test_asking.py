"""Confirmations of downgrade and stamp: they show the effects, and ask for a number or a key if rows are lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine

from tests.cli.project import Project

pytestmark = pytest.mark.each_value

ALL = ("acme", "initech", "umbrella")


def revisions(engine: Engine, *keys: str) -> list[str | None]:
    with engine.connect() as connection:
        return [
            connection.exec_driver_sql(f"SELECT min(version_num) FROM t_{key}.alembic_version").scalar() for key in keys
        ]


def fill(engine: Engine, *keys: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shared.countries VALUES ('FR') ON CONFLICT DO NOTHING")
        for key in keys:
            connection.exec_driver_sql(f"INSERT INTO t_{key}.invoices (country) VALUES ('FR')")


def ask(fleet: Project, arguments: Sequence[str], answer: str) -> tuple[int, str]:
    """Answer a command's question with *answer*; return its exit code and output."""
    done = fleet.invoke(*arguments, typed=answer)
    return done.code, done.err


@pytest.mark.parametrize(("answer", "there", "code"), [("n", "t2", 1), ("", "t2", 1), ("y", "t1", 0)])
def test_without_a_loss_of_rows_yes_is_enough(
    fleet: Project, project_engine: Engine, answer: str, there: str, code: int
) -> None:
    done, said = ask(fleet, ["downgrade", "t1", "--tenants", "acme", "--jobs", "0"], answer)
    assert "1 tenant goes back: t2 -> t1 (acme)\nDropped: column invoices.note.\nNo rows are lost. Continue?" in said
    assert done == code
    assert revisions(project_engine, "acme", "initech") == [there, "t2"]


@pytest.mark.parametrize(
    ("answer", "there", "code"), [("y", "t2", 1), ("yes", "t2", 1), ("2", "t2", 1), ("3", None, 0)]
)
def test_if_rows_are_lost_the_answer_is_the_number_of_tenants(
    fleet: Project, project_engine: Engine, answer: str, there: str | None, code: int
) -> None:
    fill(project_engine, "umbrella")
    done, said = ask(fleet, ["downgrade", "base"], answer)
    assert "3 tenants go back: t2 -> base (acme, initech, umbrella)\nDropped: table invoices." in said
    assert "Rows are lost: t_umbrella.invoices has some.\nType '3' to continue: " in said
    assert done == code
    assert revisions(project_engine, *ALL) == [there] * 3


def test_for_one_tenant_the_answer_is_its_key(fleet: Project, project_engine: Engine) -> None:
    fill(project_engine, "acme", "initech")
    arguments = ["downgrade", "-1", "-t", "acme"]
    assert ask(fleet, arguments, "1")[0] == 1
    code, said = ask(fleet, arguments, "acme")
    assert "Rows are lost: t_acme.invoices has some.\nType 'acme' to continue: " in said
    assert code == 0
    assert revisions(project_engine, *ALL) == ["t1", "t2", "t2"]


def test_tenants_at_different_revisions_are_listed_separately(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.invoke("migrate", "-t", "acme")
    _, said = ask(fleet, ["downgrade", "t1"], "n")
    assert "1 tenant goes back: t3 -> t1 (acme)" in said
    assert "2 tenants go back: t2 -> t1 (initech, umbrella)" in said


def test_the_question_names_the_shared_tables(project: Project, project_engine: Engine) -> None:
    fill(project_engine)
    file = project.folder / "migrations" / "shared" / "s1.py"
    file.write_text(file.read_text().replace("pass", 'op.execute("DROP TABLE shared.countries")'))
    code, said = ask(project, ["downgrade", "base", "--shared"], "shared")
    assert "The shared tables go back: s1 -> base\nDropped: table shared.countries.\n" in said
    assert "Rows are lost: shared.countries has some.\nType 'shared' to continue: " in said
    assert code == 0


@pytest.mark.some_values(downgrade=4)
@pytest.mark.parametrize(
    ("downgrade", "says"),
    [
        ("op.get_bind().exec_driver_sql('SELECT 1 FROM invoices')", "it uses the database itself"),
        ("raise ValueError('no way back')", "it fails without a database (ValueError: no way back)"),
        ("sa.create_engine('postgresql://192.0.2.1/x')", "it makes a connection of its own"),
        ("open('/tmp/x', 'w')", "it writes to a file"),
        ("op.execute('DROP TYPE IF EXISTS x CASCADE')", "drops dependent objects, too"),
        ("op.execute('DO $x$ BEGIN EXECUTE current_setting($y$app.sql$y$, true); END $x$')", "a DO executes a text"),
        ("op.execute('DO LANGUAGE plpython3u $x$ plpy.execute(1) $x$')", "a DO in plpython3u is not read"),
    ],
)
def test_unknown_losses_are_reported_and_need_a_typed_answer(
    fleet: Project, project_engine: Engine, downgrade: str, says: str
) -> None:
    file = fleet.add_revision("t3", "t2", "pass")
    file.write_text(file.read_text().replace("def downgrade():\n    pass", f"def downgrade():\n    {downgrade}"))
    fleet.invoke("migrate")
    code, said = ask(fleet, ["downgrade", "-1"], "y")
    assert f"Revision t3 may remove more: {says}" in said.replace("'DROP TYPE IF EXISTS x CASCADE' ", "")
    assert "Rows may be lost.\nType '3' to continue: " in said
    assert code == 1
    assert revisions(project_engine, *ALL) == ["t3"] * 3


def test_deleted_rows_are_named(fleet: Project, project_engine: Engine) -> None:
    fill(project_engine, "acme")
    file = fleet.add_revision("t3", "t2", "pass")
    file.write_text(
        file.read_text().replace(
            "def downgrade():\n    pass", "def downgrade():\n    op.execute('DELETE FROM invoices')"
        )
    )
    fleet.invoke("migrate")
    _, said = ask(fleet, ["downgrade", "-1"], "y")
    assert "Rows are deleted from invoices.\nRows are lost: t_acme.invoices has some." in said


def test_a_downgrade_of_a_run_lists_the_losses(fleet: Project, project_engine: Engine) -> None:
    fill(project_engine, "acme")
    file = fleet.add_revision("t3", "t2", 'op.add_column("invoices", sa.Column("paid", sa.Integer), schema="tenant")')
    file.write_text(file.read_text().replace("    pass", '    op.drop_column("invoices", "paid", schema="tenant")'))
    fleet.invoke("migrate", "-t", "acme", "-t", "umbrella")
    number = str(fleet.invoke("runs", "list", "--json", "--limit", "1").json[0]["id"])
    code, said = ask(fleet, ["downgrade", "--run", number], "2")
    assert "2 tenants go back: t3 -> t2 (acme, umbrella)\nDropped: column invoices.paid.\nRows are lost" in said
    assert code == 0
    assert revisions(project_engine, *ALL) == ["t2"] * 3


@pytest.mark.parametrize(("answer", "there", "code"), [("n", "t2", 1), ("y", "t1", 0)])
def test_stamp_asks_too(fleet: Project, project_engine: Engine, answer: str, there: str, code: int) -> None:
    done, said = ask(fleet, ["stamp", "t1", "-t", "acme", "-t", "initech"], answer)
    assert "2 tenants are stamped: t2 -> t1 (acme, initech)\nNo revision is run" in said
    assert done == code
    assert revisions(project_engine, *ALL) == [there, there, "t2"]


def test_stamp_lists_and_purges_the_rows(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t_acme.alembic_version SET version_num = 'gone'")
    failed = fleet.invoke("stamp", "t1", "-t", "acme", "--yes")
    assert (failed.code, "'tenantkit stamp REVISION --purge --tenants KEYS'" in failed.err) == (1, True)
    code, said = ask(fleet, ["stamp", "t1", "--purge", "-t", "acme"], "y")
    assert "1 tenant is stamped: gone -> t1 (acme)" in said
    assert "in place of all rows of alembic_version" in said
    assert code == 0
    assert revisions(project_engine, *ALL) == ["t1", "t2", "t2"]


def test_without_work_nothing_is_asked(fleet: Project) -> None:
    for arguments in (
        ("stamp", "head"),
        ("stamp", "head", "--purge"),
        ("downgrade", "t2"),
        ("stamp", "s1", "--shared"),
    ):
        done = fleet.invoke(*arguments)
        assert (done.code, "Unchanged" in done.out) == (0, True), done.err


@pytest.mark.parametrize(
    "arguments",
    [("stamp", "zzz"), ("stamp", "zzz", "--yes"), ("downgrade", "zzz"), ("downgrade", "zzz", "--yes"), ("stamp", "zzz", "--shared")],
)  # fmt: skip
def test_an_unknown_target_is_one_error(fleet: Project, project_engine: Engine, arguments: Sequence[str]) -> None:
    runs = fleet.invoke("runs", "list", "--json").json
    done = fleet.invoke(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "'zzz'" in done.err
    assert fleet.invoke("runs", "list", "--json").json == runs


@pytest.mark.parametrize("command", ["migrate", "downgrade", "stamp"])
def test_every_command_takes_tenants_one_by_one(fleet: Project, project_engine: Engine, command: str) -> None:
    fleet.add_revision("t3", "t2", "pass")
    target = {"migrate": "t3", "downgrade": "t1", "stamp": "t1"}[command]
    yes = [] if command == "migrate" else ["--yes"]
    assert fleet.invoke(command, target, "-t", "acme", "-t", "umbrella", *yes).code == 0
    assert revisions(project_engine, *ALL) == [target, "t2", target]


def test_check_takes_tenants_one_by_one(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("create", "globex")
    fleet.invoke("create", "hooli")
    with project_engine.begin() as connection:
        for key in ("acme", "umbrella"):
            connection.exec_driver_sql(f"ALTER TABLE t_{key}.invoices ADD COLUMN extra_{key} int")
    found = fleet.invoke("check", "-t", "acme", "-t", "umbrella", "--json").json
    assert sorted(key for group in found["groups"] for odd in group["odd"] for key in odd["tenants"]) == [
        "acme",
        "umbrella",
    ]
