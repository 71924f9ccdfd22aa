"""A tenant is moved to another database while it is served, and back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import count
from threading import Event
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, event, select

from tenantkit import ConfigurationError, ProvisioningError, Tenancy, TenantMovedError, TenantNotFoundError, transfer
from tenantkit.lifecycle import rename
from tenantkit.transfer import Move
from tests.isolation.two_databases import Note, dying, make_sync
from tests.support.catalog import schemas, structure
from tests.support.processes import until


def notes(tenancy: Any, key: str) -> list[str]:
    with tenancy.session(key, any_status=True) as session:
        return sorted(session.scalars(select(Note.text)))


def write(tenancy: Any, key: str, text: str) -> None:
    with tenancy.session(key, any_status=True) as session:
        session.add(Note(id=max(session.scalars(select(Note.id)), default=0) + 1, text=text))
        session.commit()


def moved(tenancy: Any, *arguments: Any, **options: Any) -> Move:
    """Move with any kind of tenancy."""
    if hasattr(tenancy, "run"):
        return tenancy.run(transfer.move, *arguments, **options)
    return transfer.move(tenancy, *arguments, **options)


def repairs(tenancy: Any) -> list[str]:
    return [each.repair for each in tenancy.diagnose() if each.repair is not None]


WAYS = pytest.mark.parametrize("stop_writes", [False, True], ids=["followed", "stopped"])


def drop_decoys(main: Engine, eu: Engine) -> None:
    """Remove the schemas of the same names with other rows, which the pair has in the other database."""
    for engine, schema in ((main, "t_berta"), (eu, "t_acme")):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")


@WAYS
def test_a_tenant_is_moved_to_another_database_and_back(
    any_tenancy: Any, main: Engine, eu: Engine, stop_writes: bool
) -> None:
    drop_decoys(main, eu)
    before = any_tenancy.get("acme")
    done = moved(any_tenancy, "acme", database="eu", stop_writes=stop_writes)
    assert (done.tenant.placement.database, done.tenant.schema, done.rows) == ("eu", "t_acme", 1)
    assert done.former
    assert (done.former.key, done.former.status, done.former.placement) == ("acme-move", "suspended", before.placement)
    for name in ("id", "key", "name", "status", "domains", "attributes", "created_at", "isolation"):
        assert getattr(done.tenant, name) == getattr(before, name)
    assert notes(any_tenancy, "acme") == ["acme"]
    write(any_tenancy, "acme", "later")
    with pytest.raises(TenantMovedError):
        write(any_tenancy, "acme-move", "x")
    assert moved(any_tenancy, "acme", database="eu").steps == ()
    back = moved(any_tenancy, "acme", back=True, stop_writes=stop_writes)
    assert back.tenant.placement == before.placement
    assert back.rows == 2
    assert notes(any_tenancy, "acme") == ["acme", "later"]
    write(any_tenancy, "acme", "last")
    with pytest.raises(ProvisioningError, match="has no former tables of the tenant"):
        moved(any_tenancy, "acme", back=True)
    again = moved(any_tenancy, "acme", database="eu")
    assert again.tenant.placement == done.tenant.placement
    assert notes(any_tenancy, "acme") == ["acme", "last", "later"]
    assert repairs(any_tenancy) == []


def test_the_former_home_is_dropped_at_last(pair: Tenancy, main: Engine, eu: Engine) -> None:
    drop_decoys(main, eu)
    with pytest.raises(ProvisioningError, match="it has no former home"):
        transfer.finish_move(pair, "acme")
    transfer.move(pair, "acme", database="eu")
    finished = transfer.finish_move(pair, "acme")
    assert finished.key == "acme-move"
    assert schemas(main) == {"public", "shared", "tenantkit"}
    with pytest.raises(ProvisioningError, match="it has no former home"):
        transfer.move(pair, "acme", back=True)
    assert transfer.move(pair, "acme", database="main").tenant.schema == "t_acme~2"  # no name is used again
    assert notes(pair, "acme") == ["acme"]
    transfer.finish_move(pair, "acme")
    assert schemas(eu) == {"public", "tenantkit", "t_berta"}
    assert pair.diagnose() == []


def test_a_later_tenant_of_the_key_does_not_get_the_former_home(pair: Tenancy, main: Engine, eu: Engine) -> None:
    drop_decoys(main, eu)
    transfer.move(pair, "acme", database="eu")
    rename(pair, "acme", "globex")
    pair.create("acme")
    for work in (
        lambda: transfer.finish_move(pair, "acme"),
        lambda: transfer.move(pair, "acme", back=True),
        lambda: transfer.move(pair, "acme", database="eu"),
    ):
        with pytest.raises(ProvisioningError, match="no former home|not the former home of this one"):
            work()
    assert notes(pair, "acme-move") == ["acme"]
    rename(pair, "acme-move", "globex-move")
    assert transfer.move(pair, "globex", back=True).tenant.schema == "t_acme"
    assert notes(pair, "globex") == ["acme"]


@pytest.mark.all_cases
@pytest.mark.parametrize("recovery", ["repeat", "repair"])
@pytest.mark.parametrize("direction", ["there", "back"])
@WAYS
def test_after_a_kill_at_any_commit_nothing_is_lost_and_the_move_can_be_repeated(
    pair: Tenancy,
    main: Engine,
    eu: Engine,
    recovery: str,
    direction: str,
    stop_writes: bool,
    dose: Callable[[int, int], int],
) -> None:
    drop_decoys(main, eu)
    if direction == "back":
        transfer.move(pair, "acme", database="eu")
    where: dict[str, Any] = {"there": {"database": "eu"}, "back": {"back": True}}[direction]
    where["stop_writes"] = stop_writes
    written, seen, step = ["acme"], set[str](), dose(5, 1)
    for number in count(1, step):
        commits, before = count(1), pair.get("acme").placement
        with ExitStack() as dead, suppress(SystemExit, ProvisioningError):  # env.py may not exit
            for name in ("main", "eu"):
                dead.enter_context(
                    dying(pair.databases.engine(name), "commit", lambda *_, n=number, c=commits: next(c) == n)
                )
            transfer.move(pair, "acme", **where)
        has_ended = next(commits) <= number
        pair.cache.clear()
        found = repairs(pair)
        seen.update(found or [""])
        with suppress(TenantMovedError):  # while it is unfinished
            write(pair, "acme", f"meanwhile {number}")
            written.append(f"meanwhile {number}")
        if recovery == "repair":
            pair.repair()
            assert repairs(pair) == []
            write(pair, "acme", f"repaired {number}")
            written.append(f"repaired {number}")
        if pair.get("acme").placement == before:
            done = transfer.move(pair, "acme", **where)
            assert done.tenant.placement.database != before.database
        assert repairs(pair) == []
        write(pair, "acme", f"after {number}")
        written.append(f"after {number}")
        assert notes(pair, "acme") == sorted(written)
        assert notes(pair, "berta") == ["berta"]
        with pytest.raises(TenantMovedError):
            write(pair, "acme-move", "x")
        transfer.move(pair, "acme", **({"database": "eu"} if direction == "back" else {"back": True}))
        if direction == "there":
            transfer.finish_move(pair, "acme")
        if has_ended:
            break
    assert number > 10
    if step == 1:
        assert seen >= {"", "let it write again", "finish the swap"}


def add(tenancy: Tenancy, key: str, first: int, is_over: Callable[[], bool]) -> tuple[list[int], int]:
    """Write notes with numbers from *first* on; return those whose commit was answered, and how often one was refused."""
    written: list[int] = []
    refused = 0
    while not is_over():
        try:
            with tenancy.session(key) as session:
                session.add(Note(id=first + len(written), text="x"))
                session.commit()
        except TenantMovedError:
            refused += 1
        else:
            written.append(first + len(written))
    return written, refused


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.all_cases)])
@WAYS
def test_no_acknowledged_write_is_lost_and_no_neighbour_is_refused(
    pair: Tenancy, urls: tuple[URL, URL], main: Engine, eu: Engine, rounds: int, stop_writes: bool
) -> None:
    drop_decoys(main, eu)
    over = Event()
    options = ({"cache_ttl": 3600}, {"listen": True})
    with ExitStack() as stack:
        others = [stack.enter_context(closing(make_sync(*urls, **each))) for each in options]
        pool = stack.enter_context(ThreadPoolExecutor())
        stack.callback(over.set)
        writing = [
            pool.submit(add, tenancy, key, number * 1_000_000, over.is_set)
            for number, (tenancy, key) in enumerate(((each, key) for each in others for key in ("acme", "berta")), 1)
        ]
        for _ in range(rounds):
            for where in ({"database": "eu"}, {"back": True}):
                seen = len(notes(pair, "acme"))
                until(lambda seen=seen: len(notes(pair, "acme")) > seen + 5)
                transfer.move(pair, "acme", **where, stop_writes=stop_writes)
        seen = len(notes(pair, "acme"))
        until(lambda: len(notes(pair, "acme")) > seen + 5)
        over.set()
        results = [each.result() for each in writing]
    assert [refused for _, refused in results[1::2]] == [0, 0]
    assert sum(refused for _, refused in results) > 0
    for key, own in (("acme", results[::2]), ("berta", results[1::2])):
        with pair.session(key) as session:
            assert {*session.scalars(select(Note.id))} == {1, *(each for written, _ in own for each in written)}


def state(pair: Tenancy, *engines: Engine) -> object:
    return pair.list(), [
        structure(each, schema) for each in engines for schema in sorted(schemas(each) - {"tenantkit"})
    ]


def suspend(pair: Tenancy) -> None:
    pair.suspend("acme")


def add_a_table(pair: Tenancy) -> None:
    with pair.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t_acme.extra ()")


def point_to_an_object(pair: Tenancy) -> None:
    with pair.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t_acme.extra AS SELECT 'pg_class'::regclass AS kind")


def take_the_key(pair: Tenancy) -> None:
    pair.create("acme-move")


OBSTACLES: dict[str, tuple[Callable[[Tenancy], object], str, bool]] = {
    "suspended": (suspend, "it is suspended, and can be moved while it is served", True),
    "schema": (lambda _: None, "the schema 't_acme' exists, and is not tenantkit's", True),
    "key": (take_the_key, "a tenant 'acme-move' that is not the former home", True),
    "object": (point_to_an_object, "names of objects of the database", True),
    "table": (add_a_table, "the table extra is missing", False),
}
"""What is in the way, the error, and whether a plan tells it."""


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_cannot_be_moved_is_refused_and_stays_as_it_was(
    pair: Tenancy, main: Engine, eu: Engine, name: str
) -> None:
    prepare, said, is_planned = OBSTACLES[name]
    if name != "schema":
        drop_decoys(main, eu)
    prepare(pair)
    before = state(pair, main, eu)
    plan = transfer.move(pair, "acme", database="eu", dry_run=True)
    assert [said in each for each in plan.obstacles] == ([True] if is_planned else [])
    assert len(plan.steps) == 4
    assert state(pair, main, eu) == before
    with pytest.raises(ProvisioningError, match=said):
        transfer.move(pair, "acme", database="eu")
    assert state(pair, main, eu) == before
    write(pair, "acme", "after")
    assert pair.diagnose() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Say where to move the tenant"),
        ({"database": "eu", "back": True}, "Say where to move the tenant"),
        ({"database": "us"}, "no database of this tenancy"),
    ],
)
def test_wrong_arguments_change_nothing(pair: Tenancy, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        transfer.move(pair, "acme", **options)
    with pytest.raises(TenantNotFoundError):
        transfer.move(pair, "nobody", database="eu")


def test_rows_that_arrive_otherwise_are_found(pair: Tenancy, main: Engine, eu: Engine) -> None:
    drop_decoys(main, eu)
    write(pair, "acme", "second")

    def change(connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        if "setval" in sql:  # after the rows
            connection.exec_driver_sql("UPDATE t_acme.note SET text = 'x' WHERE id = 2")

    event.listen(pair.databases.engine("eu"), "before_cursor_execute", change)
    with pytest.raises(ProvisioningError, match="these did not arrive as they are: note"):
        transfer.move(pair, "acme", database="eu")
    event.remove(pair.databases.engine("eu"), "before_cursor_execute", change)
    write(pair, "acme", "third")
    assert "t_acme" not in schemas(eu)
    assert pair.diagnose() == []
    assert transfer.move(pair, "acme", database="eu").rows == 3


def test_a_transaction_that_has_written_is_waited_for(pair: Tenancy, main: Engine, eu: Engine) -> None:
    drop_decoys(main, eu)
    with main.connect() as writer:
        writer.exec_driver_sql("INSERT INTO t_acme.note VALUES (2, 'open')")
        with pytest.raises(ProvisioningError, match="its tables were in use for 0.1 s"):
            transfer.move(pair, "acme", database="eu", stop_writes=True, patience=0.1)
        writer.commit()
    assert pair.diagnose() == []
    assert transfer.move(pair, "acme", database="eu").rows == 2


def test_a_tenant_is_not_moved_to_a_database_that_is_down(pair: Tenancy, urls: tuple[URL, URL]) -> None:
    with closing(make_sync(urls[0], urls[1].set(port=1), migrations=pair.migrations)) as down:
        plan = transfer.move(down, "acme", database="eu", dry_run=True)
        assert "the database 'eu' cannot be reached" in plan.obstacles[0]
        with pytest.raises(ProvisioningError, match="the database 'eu' cannot be reached"):
            transfer.move(down, "acme", database="eu")
        write(down, "acme", "after")
    assert pair.diagnose() == []
