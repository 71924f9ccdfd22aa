"""Commands whose output nobody reads, or that are told of a terminal without room."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from sqlalchemy import Engine

from tests.cli.project import GREETING, Project
from tests.cli.test_fleet import revisions
from tests.support.commands import SCRIPT

ALL = ("acme", "initech", "umbrella")


def run_without_reader(project: Project, stream: str, *arguments: str) -> tuple[int, str]:
    """Run a command with one stream as a pipe that nobody reads; return its code, and what it wrote to the other."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
        done = subprocess.run([SCRIPT, *arguments], cwd=project.folder, text=True, check=False, **streams)  # type: ignore[call-overload]
    finally:
        os.close(writer)
    return done.returncode, done.stderr if stream == "stdout" else done.stdout


@pytest.mark.some_values(arguments=4)
@pytest.mark.parametrize(
    "arguments",
    [("list",), ("list", "--json"), ("show", "acme"), ("status",), ("status", "--json"), ("check",), ("doctor",)],
    ids=" ".join,
)
def test_a_command_whose_data_nobody_reads_ends_without_a_word(fleet: Project, arguments: tuple[str, ...]) -> None:
    code, said = run_without_reader(fleet, "stdout", *arguments)
    assert (code, said.removeprefix(GREETING)) == (1, "")


@pytest.mark.all_cases
def test_a_migration_whose_messages_nobody_reads_goes_on(fleet: Project, project_engine: Engine) -> None:
    fleet.add_revision("t3", "t2", "pass")
    fleet.edit_app('print("the shop opens")', "")  # it would fail itself
    code, data = run_without_reader(fleet, "stderr", "migrate", "--jobs", "1", "--json")
    assert code == 0
    assert sorted(each["key"] for each in json.loads(data)["outcomes"]) == sorted(ALL)
    assert revisions(project_engine, *ALL) == ["t3"] * 3


@pytest.mark.parametrize("columns", ["0", "1", "-1", "x"])
def test_an_error_is_told_whatever_the_width_is_said_to_be(project: Project, columns: str) -> None:
    done = project.run("show", "nobody", environment={"COLUMNS": columns})
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: There is no tenant 'nobody'.")
