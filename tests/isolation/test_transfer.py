"""Backup and restore in each isolation, by an ordinary owner of the tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tenantkit import Status, transfer
from tenantkit.transfer import Transform
from tests.isolation.contract.application import Entry, Project, State, Task
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import DATABASE, DATABASE_LOGIN, KINDS, ROW, SCHEMA, Kind

CANARY = "canary of the neighbour"
WRITTEN = "ours %s\t\n\\N"


def fill(session: Session, word: str) -> None:
    last = max(session.scalars(select(Project.id)))
    session.add_all(
        Project(id=last + number, name=f"{word} {number}", tasks=[Task(title=f"{word} %s\t\n\\N", state=State.DONE)])
        for number in range(1, 4)
    )


def rows(session: Session) -> list[Any]:
    return [
        sorted(session.execute(select(Project.id, Project.name, Project.plan)).all()),
        sorted(session.execute(select(Task.id, Task.title, Task.state, Task.project_id)).all(), key=lambda row: row.id),
        sorted(session.execute(select(Entry.id, Entry.title)).all()),
    ]


@pytest.fixture
def filled(deploy: Callable[..., Deployment]) -> Callable[[Kind], Deployment]:
    def make(kind: Kind) -> Deployment:
        made = deploy(kind)
        made.work("globex", lambda session: fill(session, CANARY))
        made.work("acme", lambda session: fill(session, "ours"))
        made.work("globex", lambda session: fill(session, f"{CANARY} again"))
        return made

    return make


@pytest.mark.parametrize("kind", [*KINDS, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_a_copy_has_the_rows_of_its_tenant_and_none_of_the_neighbours(
    filled: Callable[[Kind], Deployment], kind: Kind, tmp_path: Path
) -> None:
    deployment = filled(kind)
    before = {key: deployment.work(key, rows) for key in ("acme", "globex")}
    file = tmp_path / "acme.tenant"
    made = transfer.backup(deployment.operator, "acme", file, compression="none")
    assert made.tables == {"entry": 3, "project": 4, "task": 3}
    content = file.read_bytes()
    assert b"ours" in content
    assert CANARY.encode() not in content

    restored = transfer.restore(deployment.operator, file, key="beta")
    assert restored.tenant.isolation == deployment.operator.get("acme").isolation
    assert {key: deployment.work(key, rows) for key in before} == before
    assert deployment.work("beta", rows) == before["acme"]
    cloned = transfer.clone(deployment.operator, "acme", as_="gamma")
    assert cloned.rows == made.tables
    assert cloned.tenant.placement.database.startswith(restored.tenant.placement.database.partition("/")[0])
    assert deployment.work("gamma", rows) == before["acme"]
    assert {key: deployment.work(key, rows) for key in before} == before
    for copy in ("beta", "gamma"):
        deployment.work(copy, lambda session: fill(session, "later"))
    deployment.work("acme", lambda session: fill(session, "later"))
    assert [len(deployment.work(copy, rows)[2]) for copy in ("beta", "gamma")] == [6, 6], "the triggers work again"
    assert deployment.operator.diagnose() == []


@pytest.mark.parametrize("chosen", ["csv", "parquet"])
@pytest.mark.parametrize("kind", [*KINDS, DATABASE_LOGIN], ids=lambda kind: kind.name)
def test_an_export_has_the_rows_of_its_tenant_and_none_of_the_neighbours(
    filled: Callable[[Kind], Deployment], kind: Kind, chosen: Any, tmp_path: Path
) -> None:
    deployment = filled(kind)
    made = transfer.export(deployment.operator, "acme", tmp_path / "out", format=chosen)
    assert made.tables == {"entry": 3, "project": 4, "task": 3}
    tables = json.loads((made.path / "export.json").read_text())["tables"]
    assert {each["table"]: [column["name"] for column in each["columns"]] for each in tables}["project"] == [
        column.name for column in Project.__table__.columns
    ], "the tenant column is left out"
    if chosen == "csv":
        found = [[*csv.DictReader(StringIO((made.path / each["file"]).read_text(), newline=""))] for each in tables]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        found = [parquet.read_table(made.path / each["file"]).to_pylist() for each in tables]
    projects, tasks = found[1:]
    expected = deployment.work("acme", rows)
    assert sorted((int(row["id"]), row["name"]) for row in projects) == [(row.id, row.name) for row in expected[0]]
    assert {row["title"] for row in tasks} == {WRITTEN}
    assert CANARY not in str(found)


@pytest.mark.parametrize("origin", [SCHEMA, ROW, DATABASE], ids=lambda kind: kind.name)
@pytest.mark.parametrize("isolation", ["schema", "row", "database"])
def test_a_tenant_is_restored_in_another_isolation(
    filled: Callable[[Kind], Deployment], origin: Kind, isolation: str, tmp_path: Path
) -> None:
    deployment = filled(origin)
    file = tmp_path / "acme.tenant"
    transfer.backup(deployment.operator, "acme", file)
    restored = transfer.restore(deployment.operator, file, isolation=isolation)
    assert (restored.tenant.key, restored.tenant.status) == ("acme-restored", Status.SUSPENDED)
    assert restored.tenant.isolation == isolation
    assert restored.differences is not None
    assert {each.table: (each.live, each.restored) for each in restored.differences} == {
        "entry": (3, 3),
        "project": (4, 4),
        "task": (3, 3),
    }
    assert restored.changed == ()
    anonymous = Transform(
        columns={Task.title: lambda title: f"no. {len(title)}", Entry.title: lambda _: "none"},
        rows={Project: lambda row: {**row, "name": f"project {row['id']}"}},
    )
    transfer.clone(deployment.operator, "acme", as_="demo", isolation=isolation, transform=anonymous)
    projects, tasks, entries = deployment.work("demo", rows)
    assert {row.name for row in projects} == {f"project {row.id}" for row in projects}
    assert {row.title for row in tasks} == {f"no. {len(WRITTEN)}"}
    assert [row.id for row in tasks] == [row.id for row in deployment.work("acme", rows)[1]]
    assert {row.title for row in entries} == {"none"}
    deployment.operator.resume("acme-restored")
    deployment.work("acme-restored", lambda session: fill(session, "later"))  # with numbers of their own
    deployment.work("acme-restored", lambda session: session.execute(delete(Task)))
    assert deployment.work("acme-restored", rows)[1] == []
    assert len(deployment.work("acme", rows)[1]) == 3
    assert deployment.operator.diagnose() == []
