"""While a tenant is copied to another database, it is written to: logical replication follows, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import URL, Engine, func, select
from sqlalchemy.exc import DBAPIError

from tenantkit import ProvisioningError, Tenancy, TenantMovedError, transfer
from tenantkit.migrations import migrate
from tenantkit.postgres.replication import Changes
from tenantkit.runs.claims import claim, claiming
from tenantkit.transfer import following
from tenantkit.transfer.move_steps import Mover
from tests.isolation.two_databases import Note, make_sync
from tests.many_databases.test_moves import drop_decoys, notes, repairs, write
from tests.support.catalog import schemas

LEFT = """
    SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
        + (SELECT count(*) FROM pg_publication)
"""


@pytest.fixture
def ready(pair: Tenancy, main: Engine, eu: Engine) -> Tenancy:
    drop_decoys(main, eu)
    with main.connect() as connection:
        if connection.exec_driver_sql("SHOW wal_level").scalar_one() != "logical":
            pytest.skip("the server under test has not wal_level = logical")
    return pair


def meanwhile(*work: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Return a function that does some work once, while rows are copied from a snapshot."""
    waiting = [*work]

    def progress(*_: object) -> None:
        while waiting:
            waiting.pop(0)()

    return progress


def left(*engines: Engine) -> list[int]:
    """Return the numbers of slots and publications."""
    found = []
    for engine in engines:
        with engine.connect() as connection:
            found.append(connection.exec_driver_sql(LEFT).scalar_one())
    return found


def execute(engine: Engine, *statements: str) -> None:
    for each in statements:
        with engine.begin() as connection:
            connection.exec_driver_sql(each.replace("%", "%%"))


def test_what_is_written_while_rows_are_copied_arrives(ready: Tenancy, main: Engine, eu: Engine) -> None:
    execute(eu, f"ALTER DATABASE {eu.url.database} SET standard_conforming_strings = off")
    ready.databases.engine("eu").dispose()

    def work() -> None:
        execute(
            main,
            "INSERT INTO t_acme.note SELECT n, 'many' FROM generate_series(10, 25000) AS n",
            "UPDATE t_acme.note SET text = 'it''s \\ 100% $x$' WHERE id = 1",
            "DELETE FROM t_acme.note WHERE id % 2 = 0",
            "UPDATE t_acme.note SET id = -id WHERE id < 100 AND id > 1",
        )
        with pytest.raises(DBAPIError):
            execute(main, "INSERT INTO t_acme.note SELECT n, 'x' FROM generate_series(50000, 50005) n; SELECT 1 / 0")

    done = transfer.move(ready, "acme", database="eu", progress=meanwhile(work))
    assert done.rows == 1
    assert transfer.differences(ready, "acme", "acme-move") == tuple(
        each for each in transfer.differences(ready, "acme", "acme-move") if each.is_equal
    )
    with ready.session("acme") as session:
        assert session.scalar(select(func.count(Note.id))) == 12_496
        assert session.scalar(select(Note.text).where(Note.id == 1)) == "it's \\ 100% $x$"
        assert session.scalar(select(func.min(Note.id))) == -99

    execute(eu, "INSERT INTO t_acme.note VALUES (2, 'there')")
    back = transfer.move(
        ready, "acme", back=True, progress=meanwhile(lambda: execute(eu, "DELETE FROM t_acme.note WHERE id > 2"))
    )
    assert back.rows == 12_497
    assert all(each.is_equal for each in transfer.differences(ready, "acme", "acme-move"))
    with ready.session("acme") as session:
        assert session.scalar(select(func.max(Note.id))) == 2
    assert left(main, eu) == [0, 0]
    assert repairs(ready) == []


def test_no_change_is_applied_twice_or_not_at_all(
    ready: Tenancy, main: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot has some transactions that the snapshot sees: those that are committed between the two."""
    start = Changes.start
    with main.connect() as writer:

        def start_and_write(self: Changes, patience: float) -> None:
            start(self, patience)
            writer.exec_driver_sql("INSERT INTO t_acme.note VALUES (3, 'committed later')")
            execute(main, "INSERT INTO t_acme.note VALUES (2, 'in both')", "DELETE FROM t_acme.note WHERE id = 1")

        monkeypatch.setattr(Changes, "start", start_and_write)
        done = transfer.move(ready, "acme", database="eu", progress=meanwhile(writer.commit))
    assert done.rows == 1
    assert notes(ready, "acme") == ["committed later", "in both"]


def test_a_plan_says_how_writes_go_on(ready: Tenancy, main: Engine) -> None:
    following = transfer.move(ready, "acme", database="eu", dry_run=True).steps
    assert "while reads and writes go on" in following[1]
    asked = transfer.move(ready, "acme", database="eu", stop_writes=True, dry_run=True).steps
    assert asked[1] == "refuse writes to the tables in the database 'main', while reads go on"
    execute(main, "CREATE TABLE t_acme.bare (id int)")
    bare = transfer.move(ready, "acme", database="eu", dry_run=True).steps
    assert bare[1].endswith(
        "as changes cannot be followed: the table bare has no primary key of columns that are not generated"
    )


REASONS = {
    "CREATE TABLE x (id int)": "x has no primary key",
    "CREATE TABLE x (id int PRIMARY KEY DEFERRABLE)": "x has no primary key",
    "CREATE TABLE x (a int, g int GENERATED ALWAYS AS (a) STORED, PRIMARY KEY (a, g))": "x has no primary key",
    "ALTER TABLE note REPLICA IDENTITY FULL": "note has no primary key",
    "ALTER TABLE note REPLICA IDENTITY NOTHING": "note has no primary key",
    "CREATE UNLOGGED TABLE x (id int PRIMARY KEY)": "x is unlogged",
    "CREATE TRIGGER x BEFORE INSERT ON note EXECUTE FUNCTION suppress_redundant_updates_trigger(); "
    "ALTER TABLE note ENABLE ALWAYS TRIGGER x": "note has triggers or rules for replicas",
    "CREATE TRIGGER x BEFORE INSERT ON note EXECUTE FUNCTION suppress_redundant_updates_trigger(); "
    "ALTER TABLE note ENABLE REPLICA TRIGGER x": "note has triggers or rules for replicas",
    "CREATE RULE x AS ON DELETE TO note DO INSTEAD NOTHING; ALTER TABLE note ENABLE ALWAYS RULE x": "or rules for replicas",
    "CREATE TABLE x (id int, part int) PARTITION BY LIST (part); CREATE TABLE y PARTITION OF x DEFAULT": "y has no primary",
}


@pytest.mark.each_value
@pytest.mark.parametrize("change", REASONS)
def test_tables_whose_changes_cannot_be_followed_are_copied_with_writes_stopped(
    ready: Tenancy, main: Engine, change: str
) -> None:
    with main.begin() as connection:
        connection.exec_driver_sql("SET LOCAL search_path = t_acme")
        connection.exec_driver_sql(change)
    assert REASONS[change] in transfer.move(ready, "acme", database="eu", dry_run=True).steps[1]


@pytest.mark.each_value
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("ALTER TABLE t_acme.note REPLICA IDENTITY USING INDEX other", ["acme"]),
        ("CREATE TRIGGER x AFTER INSERT ON t_acme.note EXECUTE FUNCTION tenantkit.fence()", ["acme"]),
    ],
)
def test_other_tables_are_followed(ready: Tenancy, main: Engine, change: str, expected: list[str]) -> None:
    execute(
        main,
        "CREATE UNIQUE INDEX other ON t_acme.note (text, id); ALTER TABLE t_acme.note ALTER text SET NOT NULL",
        change,
    )
    assert "while reads and writes go on" in transfer.move(ready, "acme", database="eu", dry_run=True).steps[1]
    assert notes(ready, "acme") == expected


def test_a_login_without_the_rights_copies_with_writes_stopped(
    ready: Tenancy, urls: tuple[URL, URL], main: Engine, eu: Engine, databases: Any
) -> None:
    role = databases.make_role()
    for engine in (main, eu):
        database = engine.url.database
        execute(
            engine,
            f"GRANT CREATE ON DATABASE {database} TO {role}; GRANT ALL ON SCHEMA tenantkit TO {role}; "
            f"GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {role}",
        )
    for statement in (
        "ALTER SCHEMA t_acme OWNER TO {0}",
        "ALTER TABLE t_acme.note OWNER TO {0}",
        "ALTER TABLE t_acme.alembic_version OWNER TO {0}",
    ):
        execute(main, statement.format(role))
    with closing(make_sync(*(url.set(username=role) for url in urls), migrations=ready.migrations)) as tenancy:
        for statement, engine, reason in (
            ("SELECT 1", main, "the login lacks the attribute REPLICATION"),
            (f"ALTER ROLE {role} REPLICATION", main, "the login may not set session_replication_role there"),
            (f"GRANT SET ON PARAMETER session_replication_role TO {role}", eu, "while reads and writes go on"),
        ):
            execute(engine, statement)
            assert reason in transfer.move(tenancy, "acme", database="eu", dry_run=True).steps[1]
        try:
            done = transfer.move(
                tenancy,
                "acme",
                database="eu",
                progress=meanwhile(lambda: execute(main, "INSERT INTO t_acme.note VALUES (2, 'new')")),
            )
        finally:
            execute(main, f"REVOKE SET ON PARAMETER session_replication_role FROM {role}")
        assert (done.rows, notes(tenancy, "acme")) == (1, ["acme", "new"])


@contextmanager
def open_elsewhere(engine: Engine) -> Generator[Any]:
    """Hold a transaction open that has written to something that is no tenant's."""
    with engine.connect() as writer:
        writer.exec_driver_sql("CREATE TABLE public.elsewhere (id int)")
        yield writer


def test_open_transactions_on_the_server_are_waited_for(ready: Tenancy, main: Engine, eu: Engine) -> None:
    with open_elsewhere(main) as writer:
        begun = monotonic()
        with pytest.raises(ProvisioningError, match=r"for 0.3 s, transactions were open .* process \d+"):
            transfer.move(ready, "acme", database="eu", patience=0.3)
        assert monotonic() - begun > 0.3
        assert left(main, eu) == [0, 0]
        write(ready, "acme", "goes on")
        mover = Thread(target=transfer.move, args=(ready, "acme"), kwargs={"database": "eu"})
        mover.start()
        mover.join(0.5)
        assert mover.is_alive()
        writer.commit()
        mover.join()
    assert notes(ready, "acme") == ["acme", "goes on"]
    assert ready.get("acme").placement.database == "eu"


SPOILED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "rewritten": (
        ("ALTER TABLE t_acme.note ALTER text TYPE varchar USING upper(text)",),
        (),
        "were altered, or written anew, meanwhile: note",
    ),
    "vacuumed": (("CLUSTER t_acme.note USING note_pkey",), (), "were altered, or written anew, meanwhile: note"),
    "another column": (("ALTER TABLE t_acme.note ADD more int",), (), "were altered, or written anew, meanwhile"),
    "another column, and a row": (
        ("ALTER TABLE t_acme.note ADD more int DEFAULT 1", "INSERT INTO t_acme.note VALUES (2, 'x', 3)"),
        (),
        "the copy refuses a change",
    ),
    "another table": (
        ("CREATE TABLE t_acme.more (id int PRIMARY KEY)",),
        (),
        "were altered, or written anew, meanwhile",
    ),
    "a row is gone": (
        ("UPDATE t_acme.note SET text = 'y' WHERE id = 1",),
        ("DELETE FROM t_acme.note",),
        "a row that was changed is not in its copy",
    ),
    "a row is there": (
        ("INSERT INTO t_acme.note VALUES (2, 'a secret')",),
        ("INSERT INTO t_acme.note VALUES (2, 'b')",),
        r"the copy refuses a change \(note_pkey, 23505\)",
    ),
}
"""What is done to a tenant, and to the copy after its rows were compared; and the error."""


@pytest.mark.each_value
@pytest.mark.parametrize("name", SPOILED)
def test_what_cannot_be_followed_takes_the_move_back(
    ready: Tenancy, main: Engine, eu: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, said = SPOILED[name]
    catch_up = following.Follower.catch_up

    def spoil_and_catch_up(self: following.Follower) -> None:
        execute(main, *here)
        execute(eu, *there)
        catch_up(self)

    monkeypatch.setattr(following.Follower, "catch_up", spoil_and_catch_up)
    with pytest.raises(ProvisioningError, match=said) as caught:
        transfer.move(ready, "acme", database="eu")
    assert "secret" not in str(caught.value)
    assert left(main, eu) == [0, 0]
    assert "t_acme" not in schemas(eu)
    write(ready, "acme", "goes on")
    assert ready.diagnose() == []


def test_a_table_that_is_emptied_at_the_start_is_followed(
    ready: Tenancy, main: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new file is that of the snapshot."""
    start = Changes.start

    def empty_and_start(self: Changes, patience: float) -> None:
        execute(main, "TRUNCATE t_acme.note")
        start(self, patience)
        execute(main, "TRUNCATE t_acme.note", "INSERT INTO t_acme.note VALUES (7, 'new')")

    monkeypatch.setattr(Changes, "start", empty_and_start)
    transfer.move(ready, "acme", database="eu")
    assert notes(ready, "acme") == ["new"]


def test_a_large_object_that_is_made_meanwhile_takes_the_move_back(
    ready: Tenancy, main: Engine, environment: Any
) -> None:
    environment.add("r2", 'op.execute("CREATE TABLE held (id int PRIMARY KEY, object oid)")')
    assert not migrate(ready, tenants=["acme"]).failures
    made = meanwhile(lambda: execute(main, "INSERT INTO t_acme.held VALUES (1, lo_create(0))"))
    with pytest.raises(ProvisioningError, match="held.object has large objects"):
        transfer.move(ready, "acme", database="eu", progress=made)
    write(ready, "acme", "goes on")


def test_a_table_without_a_key_that_is_made_after_the_plan_is_not_published(
    ready: Tenancy, main: Engine, eu: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Mover._make

    def make_a_table(self: Mover, *arguments: Any) -> Any:
        execute(main, "CREATE TABLE t_acme.bare (id int)")
        return make(self, *arguments)

    monkeypatch.setattr(Mover, "_make", make_a_table)
    with pytest.raises(ProvisioningError, match="the table bare has no primary key .*, since the move was planned"):
        transfer.move(ready, "acme", database="eu")
    assert left(main, eu) == [0, 0]


def test_a_table_that_is_made_at_the_start_takes_the_move_back(
    ready: Tenancy, main: Engine, eu: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the snapshot, but its changes are not followed."""
    start = Changes.start

    def make_and_start(self: Changes, patience: float) -> None:
        execute(main, "CREATE TABLE t_acme.late (id int PRIMARY KEY)")
        start(self, patience)
        execute(eu, "CREATE TABLE t_acme.late (id int PRIMARY KEY)")

    monkeypatch.setattr(Changes, "start", make_and_start)
    with pytest.raises(ProvisioningError, match="its tables were altered when the move began"):
        transfer.move(ready, "acme", database="eu")
    assert left(main, eu) == [0, 0]
    write(ready, "acme", "goes on")


def test_writes_are_not_refused_for_longer_than_asked(ready: Tenancy, main: Engine, eu: Engine) -> None:
    for stop_writes in (False, True):
        with pytest.raises(ProvisioningError, match="writes were refused for 0 s, and"):
            transfer.move(ready, "acme", database="eu", max_pause=0, stop_writes=stop_writes)
        assert "t_acme" not in schemas(eu)
        write(ready, "acme", "goes on")
    assert left(main, eu) == [0, 0]
    assert ready.diagnose() == []


def test_no_migration_changes_the_tables_meanwhile(ready: Tenancy, main: Engine, eu: Engine) -> None:
    claimed: list[bool] = []

    def work() -> None:
        for engine in (main, eu):
            with engine.begin() as connection:
                claimed.append(claim(connection, "t_acme"))

    transfer.move(ready, "acme", database="eu", progress=meanwhile(work))
    transfer.move(ready, "acme", back=True, progress=meanwhile(work))
    assert claimed == [False] * 4
    for engine in (main, eu):
        with (
            engine.connect() as connection,
            claiming(connection, "t_acme"),
            pytest.raises(ProvisioningError, match="a migration, or a backup, is at work"),
        ):
            transfer.move(ready, "acme", database="eu")
    assert left(main, eu) == [0, 0]
    assert transfer.move(ready, "acme", database="eu").tenant.placement.database == "eu"


@pytest.mark.all_cases
def test_writers_of_all_kinds_lose_nothing(ready: Tenancy, urls: tuple[URL, URL], main: Engine, eu: Engine) -> None:
    """Several writers insert, update and delete in transactions of several statements, some of which fail."""
    over, done = list[bool](), list[tuple[int, int]]()

    def work(number: int) -> None:
        counts = {"kept": 0}
        with closing(make_sync(*urls, cache_ttl=3600)) as tenancy:
            step = 0
            while not over:
                step += 1
                first = number * 1_000_000 + step * 10
                try:
                    with tenancy.session("acme") as session:
                        session.add_all(Note(id=first + each, text="new") for each in range(3))
                        session.flush()
                        nested = session.begin_nested()
                        session.add(Note(id=first + 4, text="rolled back"))
                        session.flush()
                        nested.rollback()
                        session.get_one(Note, first).text = "changed"
                        session.delete(session.get_one(Note, first + 1))
                        session.commit()
                except TenantMovedError:
                    continue
                counts["kept"] += 1
        done.append((number, counts["kept"]))

    writers = [Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for each in writers:
        each.start()
    try:
        for where in ({"database": "eu"}, {"back": True}, {"database": "eu"}):
            move = transfer.move(ready, "acme", **where)
            assert move.stopped is not None
    finally:
        over.append(True)
        for each in writers:
            each.join()
    with ready.session("acme") as session:
        for number, kept in done:
            mine = select(Note.text, func.count()).where(Note.id // 1_000_000 == number).group_by(Note.text)
            assert dict(session.execute(mine).all()) == ({"changed": kept, "new": kept} if kept else {})
    assert sum(kept for _, kept in done) > 10
    assert left(main, eu) == [0, 0]


KILLED = """
import os, signal, sys
from sqlalchemy import make_url
from tests.isolation.two_databases import make_sync
from tenantkit import transfer
tenancy = make_sync(make_url(sys.argv[1]), make_url(sys.argv[2]), migrations=sys.argv[3])
transfer.move(tenancy, "acme", database="eu", progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("recovery", ["repair", "repeat"])
def test_a_killed_process_leaves_no_slot(
    ready: Tenancy, urls: tuple[URL, URL], main: Engine, eu: Engine, recovery: str
) -> None:
    arguments = [url.render_as_string(hide_password=False) for url in urls]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments, str(ready.migrations)], check=False)
    assert done.returncode == -9
    write(ready, "acme", "goes on")
    if recovery == "repair":
        found = {each.problem for each in ready.diagnose()}
        assert any("a move that was interrupted left the publication" in each for each in found)
        ready.repair()
        assert (left(main, eu), ready.diagnose()) == ([0, 0], [])
    assert transfer.move(ready, "acme", database="eu").rows == 2
    assert left(main, eu) == [0, 0]
    assert repairs(ready) == []
