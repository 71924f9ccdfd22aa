"""Commands that suspend a tenant: their options, their output, and what they refuse."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tenantkit.cli.options.times import parse_duration
from tests.cli.project import Project

MESSAGE = "Back soon."
OPEN = "SELECT pg_backend_pid() FROM (SELECT count(*) FROM t_acme.alembic_version) AS _"


def test_suspend_tells_what_it_waited_for_and_cut_off(fleet: Project, project_engine: Engine) -> None:
    with project_engine.connect() as connection:
        pid = connection.execute(text(OPEN)).scalar_one()
        done = fleet.invoke("suspend", "acme", "--message", MESSAGE, "--until", "2099-01-31T08:00Z", "--drain", "0s")
        assert done.code == 0
        assert done.out.splitlines() == [
            "Suspended acme (schema t_acme)",
            f"Transactions in flight: 1. Cut off: 1 (process {pid}).",
        ]
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1"))
    shown = fleet.invoke("show", "acme", "--json").json
    assert (shown["status"], shown["message"], shown["until"][:10]) == ("suspended", MESSAGE, "2099-01-31")
    assert MESSAGE in fleet.invoke("show", "acme").out
    (row,) = (line for line in fleet.invoke("list").out.splitlines() if line.startswith("acme "))
    assert MESSAGE in row
    assert "2099-01-31" in row
    again = fleet.invoke("suspend", "acme", "--read-only", "--drain", "0s", "--json").json
    assert (again["status"], again["message"], again["drained"]) == ("read_only", None, {"waited_for": 0, "ended": []})
    assert "Message" not in fleet.invoke("list").out


REFUSED = {
    "no duration": ("--drain", ("5", "soon", "-5s", "5 s", "", f"{'9' * 20}w", "nan", "1y")),
    "neither a time such as": ("--until", ("tomorrow", "8:00", "-1h", "")),
    "needs a time zone": ("--until", ("2099-01-31", "2099-01-31T08:00")),
    "has passed already": ("--until", ("2000-01-31T08:00Z",)),
    "in the future": ("--until", ("0s",)),
    "at most 100 years": ("--until", ("9999-12-31T23:59Z", "5300w")),
    "message=": ("--message", ("", " ", "a\nb", "\x1b[2J", "x" * 501)),
}


@pytest.mark.parametrize("command", ["suspend", "maintenance"])
def test_what_cannot_be_used_is_refused_before_anything_changes(fleet: Project, command: str) -> None:
    for problem, (option, values) in REFUSED.items():
        for value in values:
            done = fleet.invoke(command, "acme", f"{option}={value}")
            assert done.code in {1, 2}
            assert problem in done.err
    assert fleet.invoke("show", "acme", "--json").json["status"] == "active"


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    written = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(written, "--x") == timedelta(seconds=sum(number * seconds[unit] for number, unit in parts))
