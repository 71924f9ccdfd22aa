"""Work of a revision outside of its connection is detected, reported, and never omitted by a replay."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import migrate, preview
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

COUNT = 4
KEYS = [f"k{number}" for number in range(COUNT)]


ONE = 'op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), schema="tenant")'


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(ONE, tuple(KEYS))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    """Four tenants, and a table in public for rows of other connections."""
    environment.add("one", ONE)
    tenancy = migrated_tenancy()
    with tenancy.engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.written (x int)"))
    return tenancy


ADD = "op.add_column('a', sa.Column('y', sa.Integer), schema='tenant')\n"

CONNECTIONS = {
    "an engine": """
engine = sa.create_engine(URL)
with engine.begin() as connection:
    connection.execute(sa.text("INSERT INTO public.written VALUES (1)"))
engine.dispose()
""",
    "a session": """
from sqlalchemy.orm import Session
engine = sa.create_engine(URL)
with Session(engine) as session:
    session.execute(sa.text("INSERT INTO public.written VALUES (1)"))
    session.commit()
engine.dispose()
""",
    "the same engine": """
with op.get_context().connection.engine.connect() as connection:
    connection.execute(sa.text("INSERT INTO public.written VALUES (1)"))
    connection.commit()
""",
    "psycopg": """
import psycopg
with psycopg.connect(DSN) as connection:
    connection.execute("INSERT INTO public.written VALUES (1)")
""",
    "psycopg's cursor": """
from psycopg import Connection
with Connection.connect(DSN, autocommit=True) as connection, connection.cursor() as cursor:
    cursor.executemany("INSERT INTO public.written VALUES (%s)", [(1,)])
""",
    "psycopg's COPY": """
import psycopg
with psycopg.connect(DSN) as connection, connection.cursor() as cursor:
    with cursor.copy("COPY public.written FROM STDIN") as copy:
        copy.write_row((1,))
""",
    "asyncpg": """
import asyncio
import asyncpg
async def write():
    connection = await asyncpg.connect(PLAIN)
    await connection.execute("INSERT INTO public.written VALUES (1)")
    await connection.close()
asyncio.run(write())
""",
    "psycopg in a thread": """
import psycopg
from concurrent.futures import ThreadPoolExecutor
def write():
    with psycopg.connect(DSN) as connection:
        connection.execute("INSERT INTO public.written VALUES (1)")
with ThreadPoolExecutor(1) as pool:
    pool.submit(write).result()
""",
    "the driver's cursor": """
with op.get_bind().connection.cursor() as cursor:
    cursor.execute("INSERT INTO public.written VALUES (1)")
""",
    "the driver's connection": """
op.get_bind().connection.driver_connection.execute("INSERT INTO public.written VALUES (1)")
""",
}


@pytest.mark.some_values(kind=6)
@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_revision_with_another_connection_is_reported_and_not_replayed(
    kind: str, fleet: Tenancy, environment: Environment, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    dsn = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    url = engine.url.render_as_string(hide_password=False)
    environment.add(
        f"r{list(CONNECTIONS).index(kind)}", f"{ADD}URL, DSN, PLAIN = {url!r}, {dsn!r}, {dsn!r}\n{CONNECTIONS[kind]}"
    )
    with caplog.at_level(logging.WARNING, "tenantkit.migrations"):
        report = migrate(fleet, jobs=1)
    assert [outcome.engine for outcome in report.outcomes] == ["alembic"] * COUNT
    (why,) = report.not_replayed
    is_driver = kind.startswith("the driver's")
    assert ("cursor" if is_driver else "connection of its own") in why or "uses the network" in why
    assert is_driver or "network" in why or "outside of the tenant's transaction" in caplog.text
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM public.written")).scalar() == COUNT


EFFECTS = {
    "append to a file": "open(FILE, 'a').write('x')",
    "write with pathlib": "from pathlib import Path\nfor _ in [1]:\n    p = Path(FILE)\np.open('ab').write(b'x')",
    "os.open": "import os\nf = os.open(FILE, os.O_APPEND | os.O_CREAT | os.O_WRONLY)\nos.write(f, b'x')\nos.close(f)",
    "a process": "import subprocess\nsubprocess.run(['sh', '-c', f'printf x >> {FILE}'], check=True)",
    "a shell": "import os\nos.system(f'printf x >> {FILE}')",
    "a directory": "import os, tempfile\nos.mkdir(FILE + str(os.urandom(8).hex()))\nopen(FILE, 'a').write('x')",
    "a thread": (
        "from threading import Thread\nfrom pathlib import Path\n"
        "t = Thread(target=lambda: open(FILE, 'a').write('x'))\nt.start()\nt.join()"
    ),
    "the network": (
        "import socket\n"
        "with socket.socket(socket.AF_UNIX) as s:\n    try:\n        s.connect(FILE + '.sock')\n    except OSError:\n        pass\n"
        "import subprocess\nsubprocess.run(['sh', '-c', f'printf x >> {FILE}'], check=True)"
    ),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.some_values(kind=4)
@pytest.mark.parametrize("kind", EFFECTS)
def test_work_in_files_and_other_processes_is_done_for_every_tenant(
    kind: str, fleet: Tenancy, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "effects"
    environment.add("two", f"{ADD}FILE = {str(file)!r}\n{EFFECTS[kind]}")
    report = migrate(fleet, jobs=1)
    assert file.read_text() == "x" * COUNT
    assert [outcome.engine for outcome in report.outcomes] == ["alembic"] * COUNT
    (why,) = report.not_replayed
    assert "revision two" in why


def test_a_revision_with_replay_false_is_not_replayed(fleet: Tenancy, environment: Environment, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    environment.add("two", f"{ADD}os.write(KEPT_OPEN, b'x')")
    path = environment.folder / "tenant" / "two.py"
    opened = f"import os\nKEPT_OPEN = os.open({str(file)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
    path.write_text(f"{path.read_text()}\nreplay = False\n{opened}")
    report = migrate(fleet, jobs=1)
    assert file.read_text() == "x" * COUNT
    assert report.not_replayed == {"revision two has replay = False": COUNT - 1}


@pytest.mark.parametrize("value", ["'no'", "0", "None"])
def test_a_replay_variable_that_is_no_bool_is_refused(value: str, fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", ADD)
    path = environment.folder / "tenant" / "two.py"
    path.write_text(f"{path.read_text()}\nreplay = {value}\n")
    with pytest.raises(ConfigurationError, match="Write replay = False"):
        migrate(fleet)


def test_reads_of_files_and_imports_do_not_prevent_a_replay(
    fleet: Tenancy, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "read.csv").write_text("1\n2\n")
    (tmp_path / "imported_by_a_revision.py").write_text("VALUE = 3")
    monkeypatch.syspath_prepend(tmp_path)
    environment.add(
        "two",
        f"{ADD}import imported_by_a_revision as other\n"
        f"from pathlib import Path\nfor line in Path({str(tmp_path / 'read.csv')!r}).read_text().split():\n"
        "    op.execute(f'INSERT INTO a VALUES ({line})')\nop.execute(f'INSERT INTO a VALUES ({other.VALUE})')",
    )
    report = migrate(fleet)
    assert report.not_replayed == {}
    assert [outcome.engine for outcome in report.outcomes].count("replay") == COUNT - 2


def test_work_of_other_threads_does_not_count_as_the_revisions(
    fleet: Tenancy, environment: Environment, engine: Engine, tmp_path: Path
) -> None:
    from threading import Event, Thread

    ended = Event()

    def write() -> None:
        while not ended.wait(0.001):
            (tmp_path / "log").write_text("x")
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))

    thread = Thread(target=write)
    thread.start()
    try:
        environment.add("two", ADD)
        report = migrate(fleet)
    finally:
        ended.set()
        thread.join()
    assert report.not_replayed == {}


def test_a_preview_does_not_run_a_revision_that_is_not_replayed(
    fleet: Tenancy, environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "effects"
    environment.add("two", ADD)
    environment.add("three", f"from pathlib import Path\nPath({str(file)!r}).write_text('x')")
    path = environment.folder / "tenant" / "three.py"
    path.write_text(f"{path.read_text()}\nreplay = False\n")
    (group,) = preview(fleet, scripts=True).groups
    assert group.rehearsal is not None
    assert (group.rehearsal.autocommit, group.rehearsal.failures) == ("three", ())
    assert "ADD COLUMN y" in (group.rehearsal.script or "")
    assert not file.exists()
    migrate(fleet, jobs=0)
    assert file.read_text() == "x"


def test_another_connection_is_also_reported_at_a_creation(
    fleet: Tenancy, migrated_tenancy: Make, environment: Environment, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    environment.add("own_at_creation", f"{ADD}URL = {url!r}\n{CONNECTIONS['an engine']}")
    with caplog.at_level(logging.WARNING, "tenantkit.migrations"):
        migrated_tenancy().create("new")
    assert "Revision own_at_creation opens a connection of its own" in caplog.text
    migrate(fleet, jobs=0)
    assert caplog.text.count("own_at_creation") == 1


def test_a_replay_that_fails_names_the_revision(fleet: Tenancy, environment: Environment) -> None:
    with fleet.engine.begin() as connection:
        connection.execute(text("INSERT INTO t_k3.a VALUES (1)"))
    environment.add("two", "op.execute('INSERT INTO a VALUES (1)')")
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, engine="replay")
    (failure,) = raised.value.report.failures
    assert (failure.key, failure.engine, failure.revision) == ("k3", "replay", "two")
    assert (failure.file or "").endswith("two.py")
