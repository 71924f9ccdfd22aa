"""Side effects of a revision's Python, as far as its syntax shows them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tenantkit.migrations.graph.flow import is_used

_READS = frozenset(
    {
        "alembic.context.get_bind",
        "alembic.op.get_bind",
        "sqlalchemy.inspect",
        "sqlalchemy.orm.Session",
        "sqlalchemy.orm.sessionmaker",
    }
)
"""Functions that return a connection, or an object with one. The rendering shows how it is used."""

_CONNECTS = {
    "sqlalchemy.create_engine": "it makes an engine of its own",
    "sqlalchemy.engine_from_config": "it makes an engine of its own",
    "sqlalchemy.engine.create_engine": "it makes an engine of its own",
    "sqlalchemy.ext.asyncio.create_async_engine": "it makes an engine of its own",
    "sqlalchemy.ext.asyncio.async_engine_from_config": "it makes an engine of its own",
    "sqlmodel.create_engine": "it makes an engine of its own",
    **dict.fromkeys(
        (
            "asyncpg.connect",
            "asyncpg.create_pool",
            "pg8000.connect",
            "psycopg.AsyncConnection.connect",
            "psycopg.Connection.connect",
            "psycopg.connect",
            "psycopg2.connect",
        ),
        "it opens a connection of its own",
    ),
    **dict.fromkeys(
        ("psycopg_pool.AsyncConnectionPool", "psycopg_pool.ConnectionPool"), "it makes a connection pool of its own"
    ),
}
_VARIES = {
    "datetime.datetime.now": "the clock",
    "datetime.datetime.today": "the clock",
    "datetime.datetime.utcnow": "the clock",
    "datetime.date.today": "the clock",
    "time.time": "the clock",
    "time.time_ns": "the clock",
    "time.localtime": "the clock",
    "time.gmtime": "the clock",
    "time.strftime": "the clock",
    "uuid.uuid1": "chance",
    "uuid.uuid4": "chance",
    "uuid.uuid6": "chance",
    "uuid.uuid7": "chance",
    "random": "chance",
    "secrets": "chance",
    "os.urandom": "chance",
    "os.getenv": "the environment of the process",
    "os.getcwd": "the machine",
    "os.uname": "the machine",
    "platform": "the machine",
    "socket.gethostname": "the machine",
    "socket.getfqdn": "the machine",
    "getpass.getuser": "the machine",
}
"""Functions and modules whose values differ each time."""
_VARYING = {"os.environ": "the environment of the process"}
"""Attributes whose values differ each time."""

_NETWORK = dict.fromkeys(
    (
        "aiohttp",
        "boto3",
        "botocore",
        "confluent_kafka",
        "elasticsearch",
        "ftplib",
        "httpx",
        "kafka",
        "kombu",
        "paramiko",
        "pika",
        "pymongo",
        "redis",
        "requests",
        "smtplib",
        "socket.create_connection",
        "urllib.request",
        "urllib3",
    ),
    "it uses the network",
)
_OUTSIDE = {
    **_NETWORK,
    **dict.fromkeys(("os.system", "os.popen", "subprocess"), "it starts a process"),
    **dict.fromkeys(
        (
            "os.makedirs",
            "os.mkdir",
            "os.remove",
            "os.rename",
            "os.replace",
            "os.rmdir",
            "os.symlink",
            "os.unlink",
            "shutil",
            "tempfile",
        ),
        "it changes files",
    ),
    "sqlite3.connect": "it opens another database",
}
"""Work outside of the revision's connection, by function or module."""
_METHODS = {
    **dict.fromkeys(
        ("mkdir", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text"), "it changes files"
    ),
    **dict.fromkeys(("apply_async", "delay", "send_task"), "it starts a task"),
}
"""Work outside of the revision's connection, by the name of a method of any object."""
_MODE = re.compile(r"(?=.*[wax+])[rwax][bt+]*")
"""The mode of a file that is opened for writing."""


Kind: TypeAlias = Literal["asks", "connects", "outside", "reads", "varies"]


@dataclass(frozen=True)
class Suspicion:
    """A line whose effect is not only in the statements that it sends."""

    line: int
    reason: str
    kind: Kind
    """``asks`` for the name of the schema; ``connects`` to a real database; works ``outside`` of the revision's
    connection; perhaps ``reads`` by a connection; or ``varies`` from one run to the next."""


def find(tree: ast.Module, roots: Sequence[ast.stmt], *, is_imported: bool = False) -> tuple[Suspicion, ...]:
    """Return the suspicions in the statements *roots* of *tree*, in the order of their lines.

    :param is_imported: whether other files may use any value of these statements.
    """
    imported = dict(_imports(tree))
    found = {
        (suspicion.line, suspicion.reason): suspicion
        for root in roots
        for node in ast.walk(root)
        if isinstance(node, ast.expr)
        and (suspicion := _suspect(node, imported)) is not None
        and (suspicion.kind != "varies" or is_imported or is_used(node, roots))
    }
    return tuple(found[key] for key in sorted(found))


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each imported name, with its full name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (first, first)
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield alias.asname or alias.name, f"{module}.{alias.name}"
            case _:
                pass


def _suspect(node: ast.expr, imported: dict[str, str]) -> Suspicion | None:
    match node:
        case ast.Call():
            found = _suspect_call(node, _dotted(node.func, imported) or "")
            return None if found is None else Suspicion(node.lineno, *found)
        case ast.Attribute(attr="version_table_schema"):
            return Suspicion(node.lineno, "the name of its schema", "asks")
        case ast.Attribute():
            reason = _VARYING.get(_dotted(node, imported) or "")
            return Suspicion(node.lineno, reason, "varies") if reason else None
        case _:
            return None


def _suspect_call(call: ast.Call, name: str) -> tuple[str, Kind] | None:
    if name in _READS:
        return "a connection", "reads"
    if name in _CONNECTS:
        return _CONNECTS[name], "connects"
    if (reason := _by_name(_OUTSIDE, name) or _changes_files(call)) is not None:
        return reason, "outside"
    return None if (reason := _by_name(_VARIES, name)) is None else (reason, "varies")


def _by_name(reasons: dict[str, str], name: str) -> str | None:
    """Return the reason for a function, or for its module."""
    parts = name.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((reasons[each] for each in names if each in reasons), None)


def _changes_files(call: ast.Call) -> str | None:
    """Return the reason for a call that changes files, by its name or by its mode."""
    match call.func:
        case ast.Name(id="open"):
            modes = call.args[1:2]
        case ast.Attribute(attr="open"):
            modes = call.args[:1]
        case ast.Attribute(attr=name):
            return _METHODS.get(name)
        case _:
            return None
    modes = [*modes, *(each.value for each in call.keywords if each.arg == "mode")]
    is_writing = any(isinstance(each, ast.Constant) and _MODE.fullmatch(str(each.value)) for each in modes)
    return "it writes to a file" if is_writing else None


def _dotted(node: ast.expr, imported: dict[str, str]) -> str | None:
    """Return the full name of a name, or of a name with attributes."""
    match node:
        case ast.Name(id):
            return imported.get(id)
        case ast.Attribute(value, attr):
            before = _dotted(value, imported)
            return None if before is None else f"{before}.{attr}"
        case ast.Call(func=func):
            before = _dotted(func, imported)
            return None if before is None else f"{before}()"
        case _:
            return None
