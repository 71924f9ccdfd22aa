"""Several databases, and processes that fork, are killed, or lose an answer."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, select

from tenantkit import Tenancy, migrations
from tenantkit.migrations.replay import executor
from tenantkit.placement import DatabaseLoad, NewTenant
from tests.databases.test_forks import SETTING
from tests.isolation.two_databases import EU, Note, make_sync
from tests.support.catalog import schemas
from tests.support.processes import until_alone

FORKING = """
from tests.isolation.two_databases import make_sync
from sqlalchemy import make_url, text
tenancy = make_sync(make_url(url), make_url(sys.argv[4]), engine_options=options)

def serve():
    pids = []
    for key in ("acme", "berta"):
        with tenancy.session(key) as session:
            assert session.execute(text("SELECT text FROM note")).scalar_one() == key
            pids.append(session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    return pids

before = serve()

def work():
    assert set(serve()).isdisjoint(before)
    tenancy.close()

ends_well(in_child(work))
assert serve() == before
tenancy.close()
"""

CREATING = """
import os, signal, sys
from sqlalchemy import event, make_url
from tests.isolation.two_databases import EU, POOL, make_sync
named = {**POOL, "connect_args": {"application_name": "tenantkit worker"}}
tenancy = make_sync(make_url(sys.argv[1]), make_url(sys.argv[2]), migrations=sys.argv[3], engine_options=named)
seen = 0

def count(*_):
    global seen
    seen += 1
    if seen == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

for name in ("main", "eu"):
    engine = tenancy.databases.engine(name)
    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
tenancy.create("berta", attributes=EU)
print(seen)
"""


@pytest.mark.all_cases
@pytest.mark.parametrize("fork", ["python", "c"])
@pytest.mark.parametrize("options", [{}, {"pool_pre_ping": True}], ids=["", "ping"])
def test_a_forked_process_has_connections_of_its_own_to_each_database(
    pair: Tenancy, urls: tuple[URL, URL], fork: str, options: dict[str, Any]
) -> None:
    main, eu = (url.render_as_string(hide_password=False) for url in urls)
    subprocess.run([sys.executable, "-c", SETTING + FORKING, main, fork, repr(options), eu], check=True, timeout=300)


def _create(urls: tuple[URL, URL], tenancy: Tenancy, dies_at: int) -> subprocess.CompletedProcess[str]:
    places = [url.render_as_string(hide_password=False) for url in urls]
    command = [sys.executable, "-c", CREATING, *places, str(tenancy.migrations), str(dies_at)]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=300)


@pytest.mark.all_cases
def test_a_creation_that_is_killed_anywhere_is_created_anew_or_dropped(
    tenancy: Tenancy, urls: tuple[URL, URL], main: Engine, eu: Engine
) -> None:
    before = schemas(main), schemas(eu)
    steps = 0
    for _ in range(3):  # the third one by the script of the others
        steps = int(_create(urls, tenancy, 0).stdout)
        tenancy.drop("berta")
    assert steps > 20
    for number, dies_at in enumerate([*range(1, steps - 2, steps // 3), steps - 2, steps - 1, steps]):
        assert _create(urls, tenancy, dies_at).returncode == -signal.SIGKILL
        until_alone(main)
        until_alone(eu)
        tenancy.cache.clear()
        match number % 3:
            case 0:
                tenancy.create("berta", attributes=EU)
            case 1:
                tenancy.repair()
            case _:
                pass
        if any(tenant.key == "berta" for tenant in tenancy.list()):
            tenancy.drop("berta")
        assert (tenancy.list(), tenancy.diagnose(), schemas(main), schemas(eu)) == ([], [], *before), dies_at


def test_a_run_knows_what_it_has_committed_when_the_answer_was_lost(
    fleet: Tenancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of replays are lost after their first commit, before the answer arrives."""
    send, lost = executor._send, set[int]()

    def lose(connection: Any, sent: bytes) -> None:
        send(connection, sent)
        if sent.endswith(b"COMMIT") and b'"t_e' in sent and (key := hash(sent)) not in lost:
            lost.add(key)
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(executor, "_send", lose)
    report = migrations.migrate(fleet)
    assert len(lost) == 2
    _, outcomes = migrations.get_run(fleet, report.run_id)
    assert [(each.from_revision, each.to_revision, each.ok) for each in outcomes] == [("r1", "r2", True)] * 8
    assert len(report.migrated) == 8
    assert len(migrations.downgrade_run(fleet, report.run_id).migrated) == 8


def test_the_same_schema_in_two_databases_belongs_to_two_tenants(tenancy: Tenancy, main: Engine) -> None:
    tenancy.create("acme", database="eu", seed=lambda session: session.add(Note(id=1, text="eu")))
    with main.begin() as connection:
        connection.exec_driver_sql("UPDATE tenantkit.tenants SET key = 'acme-eu' WHERE key = 'acme'")
        connection.exec_driver_sql("DELETE FROM tenantkit.former_tenants")  # as if nobody had had the key
    tenancy.create("acme", database="main", seed=lambda session: session.add(Note(id=1, text="main")))
    assert tenancy.get("acme").schema == tenancy.get("acme-eu").schema == "t_acme"
    for key, text in (("acme", "main"), ("acme-eu", "eu")):
        with tenancy.session(key) as session:
            assert session.scalars(select(Note.text)).all() == [text]
    assert tenancy.diagnose() == []
    tenancy.drop("acme")
    with tenancy.session("acme-eu") as session:
        assert session.scalars(select(Note.text)).all() == ["eu"]


def test_values_are_pickled_with_their_database(pair: Tenancy, urls: tuple[URL, URL]) -> None:
    berta = pickle.loads(pickle.dumps(pair.get("berta")))  # noqa: S301
    assert (berta, berta.placement.database) == (pair.get("berta"), "eu")
    with closing(make_sync(*urls)) as other, other.session(berta) as session:
        assert session.scalars(select(Note.text)).all() == ["berta"]
    with pair.session("berta") as session:
        note = pickle.loads(pickle.dumps(session.scalars(select(Note)).one()))  # noqa: S301
    assert note.text == "berta"
    for value in (NewTenant(key="acme", database="eu"), DatabaseLoad(3)):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value  # noqa: S301
