"""Exits and errors of application code are failures, which name revision, file and line."""

from __future__ import annotations

import json

import pytest
from psycopg import ProgrammingError
from sqlalchemy import exc

from tenantkit.cli.display.errors import describe
from tests.cli.project import Project

EXITS = {
    "sys.exit()": "SystemExit",
    "sys.exit('enough')": "SystemExit: enough",
    "os._exit(0)": "os._exit()",
    "raise type('Stop', (BaseException,), {})('enough')": "Stop: enough",
}

SEEDED = """
import os, sys
from shop.app import *

def seed(session):
    {statement}

seeded = Tenancy(os.environ["DATABASE_URL"], **OPTIONS, seed=seed)
"""


@pytest.mark.parametrize("statement", EXITS)
def test_a_seed_that_ends_the_process_is_a_failed_creation(statement: str, fleet: Project) -> None:
    fleet.write("shop/seeded.py", SEEDED.format(statement=statement))
    run = fleet.run if "os._exit" in statement else fleet.invoke
    done = run("create", "fresh", "-a", "shop.seeded:seeded")
    assert (done.code, done.out) == (1, "")
    assert EXITS[statement] in done.err.splitlines()[-1]
    (tenant,) = (each for each in fleet.invoke("list", "--json").json if each["key"] == "fresh")
    assert tenant["status"] in {"failed", "provisioning"}


@pytest.mark.parametrize("command", [("list",), ("migrate",), ("status",), ("create", "x"), ("check",), ("lint",)])
@pytest.mark.parametrize("statement", EXITS)
def test_an_application_that_ends_the_process_is_an_error(
    statement: str, command: tuple[str, ...], project: Project
) -> None:
    project.write("shop/ending.py", f"import os, sys\n{statement}\n")
    run = project.run if "os._exit" in statement else project.invoke
    done = run(*command, "-a", "shop.ending:tenancy")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("error: ")
    assert EXITS[statement] in done.err


COMMANDS = [
    ("migrate",),
    ("migrate", "--engine", "alembic"),
    ("migrate", "--jobs", "0"),
    ("migrate", "--shared-only"),
    ("migrate", "--sql"),
    ("downgrade", "-1", "--yes"),
    ("downgrade", "base", "--shared", "--yes"),
    ("stamp", "t3", "--yes"),
    ("create", "fresh"),
    ("revision", "-m", "x", "--autogenerate"),
    ("revision", "-m", "x", "--autogenerate", "--shared"),
]

ENVIRONMENTS = {
    "empty": "",
    "exit": "import sys\nsys.exit(0)\n",
    "os._exit": "import os\nos._exit(0)\n",
    "own": (
        "import os\nfrom alembic import context\nfrom sqlalchemy import NullPool, create_engine\n"
        "engine = create_engine(os.environ['DATABASE_URL'], poolclass=NullPool)\n"
        "with engine.connect() as connection:\n    context.configure(connection=connection)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n"
    ),
}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_every_command_refuses_an_environment_of_plain_alembic(kind: str, fleet: Project, all_cases: bool) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.add_revision("s2", "s1", "pass", "shared")
    before = fleet.invoke("status", "--json").json
    fleet.write("migrations/env.py", ENVIRONMENTS[kind])
    step = 1 if all_cases else len(ENVIRONMENTS)  # by default, each command has one of the environments
    for command in COMMANDS[list(ENVIRONMENTS).index(kind) % step :: step]:
        done = fleet.run(*command) if kind == "os._exit" else fleet.invoke(*command)
        assert (done.code, done.out) == (1, ""), command
        assert done.err.count("error: ") == 1, command
        assert "env.py" in done.err, (command, done.err)
    (fleet.folder / "migrations" / "shared" / "s2.py").unlink()
    checked = fleet.run("check", "--models") if kind == "os._exit" else fleet.invoke("check", "--models")
    assert (checked.code, "env.py" in checked.err) == (1, True)
    after = fleet.invoke("status", "--json").json
    assert after["counts"] == before["counts"]
    assert after["shared_revision"] == "s1"


def test_every_command_shows_revision_file_and_line_of_a_failure(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.add_revision("t4", "t3", "x = 1\n    raise TypeError(f'odd {x}, password=s3cret')")
    place = "revision t4, migrations/tenant/t4.py, line 10"
    done = fleet.invoke("migrate")
    assert done.code == 1
    assert f"failed acme TypeError: odd 1, password=***, in {place}" in done.err
    assert f"  in {place}\n" in done.err
    assert "Traceback" not in done.err
    verbose = fleet.invoke("migrate", "-v", "--engine", "alembic")
    assert 'migrations/tenant/t4.py", line 10, in upgrade' in verbose.err
    assert verbose.err.count("Traceback") == 1
    report = fleet.invoke("migrate", "--json").json
    (group,) = report["failure_groups"]
    assert group["places"] == [place]
    for each in (*report["outcomes"], *fleet.invoke("runs", "show", "3", "--json").json["outcomes"]):
        assert (each["revision"], each["file"], each["line"]) == ("t4", "migrations/tenant/t4.py", 10)
        assert "line 10, in upgrade" in each["traceback"]
        assert "s3cret" not in json.dumps(each)
    shown = fleet.invoke("runs", "show", "3")
    assert place in shown.out
    assert "Traceback" not in shown.out
    assert fleet.invoke("runs", "show", "3", "-v").out.count("Traceback") == 1
    assert place in fleet.invoke("status").out
    assert place in fleet.invoke("show", "acme").out
    assert fleet.invoke("show", "acme", "--json").json["last_run"]["line"] == 10
    events = [json.loads(line) for line in fleet.invoke("migrate", "--events").out.splitlines()]
    assert {each["line"] for each in events if each["event"] == "outcome"} == {10}
    created = fleet.invoke("create", "fresh")
    assert place in created.err
    checked = fleet.invoke("check", "--models")
    assert place in checked.err


def test_a_failed_shared_revision_is_shown_with_file_and_line(project: Project) -> None:
    project.add_revision("s2", "s1", "raise TypeError('odd')", "shared")
    for command in (("migrate",), ("migrate", "--shared-only")):
        done = project.invoke(*command)
        assert done.code == 1
        assert "revision s2, migrations/shared/s2.py, line 9" in done.err


def test_a_drivers_error_about_arguments_is_no_lost_connection(project: Project) -> None:
    original = ProgrammingError("the query has 1 placeholder but 2 parameters were passed")
    told = describe(exc.ProgrammingError("SELECT", {}, original))
    assert told.startswith("ProgrammingError: the query has 1 placeholder")
    assert "cannot be reached" not in told
    project.add_revision("s2", "s1", "op.get_bind().exec_driver_sql('SELECT %s', (1, 2))", "shared")
    done = project.invoke("migrate")
    assert "placeholder" in done.err
    assert "cannot be reached" not in done.err


@pytest.mark.parametrize(
    ("expected", "models"),
    [
        (
            "revision --autogenerate' may help",
            "class Another(TenantBase):\n    __tablename__ = 'x'\n    id: Mapped[int] = mapped_column(primary_key=True)",
        ),
        (
            "write a revision by hand",
            "from sqlalchemy import CheckConstraint\nInvoice.__table__.append_constraint(CheckConstraint('id > 0', name='positive'))",
        ),
    ],
)
def test_autogenerate_is_proposed_only_for_differences_that_it_finds(
    expected: str, models: str, fleet: Project
) -> None:
    fleet.edit_app("\nOPTIONS =", f"\n{models}\n\nOPTIONS =")
    assert expected in fleet.invoke("check", "--models").err
