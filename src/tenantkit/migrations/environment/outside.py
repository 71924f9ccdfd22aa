"""Observation of a revision's work outside of its connection: other connections, files, processes, the network.

A replay would leave that work out. What a revision takes from outside may be another value at a later replay.
SQLAlchemy's events show neither other engines nor the driver's own cursors, and
libpq raises no audit events, so calls of psycopg are observed by a profile function, and the rest by an audit hook.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from alembic.runtime.migration import RevisionStep

from tenantkit.migrations.environment.audit_events import describe, describe_reading
from tenantkit.migrations.environment.varying import codes_that_vary, describe_call

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep
    from sqlalchemy import Connection

Report: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Values:
    """Observes values from outside: of the clock, chance, files or the environment of the process."""

    report: Report
    known: Path
    """The folder of files that do not count."""


OWN_CONNECTION = "opens a connection of its own"
OWN_CURSOR = "uses the driver's cursor"

_log = logging.getLogger("tenantkit.migrations")
_told: set[str] = set()
_once: set[tuple[str, bool]] = set()

_observed: dict[int, Report] = {}
"""The callback for audit events, by the thread that runs a revision. There is one at a time: see `requesting`."""
_observed_values: dict[int, Values] = {}
"""The observers of files that are read, by thread."""
_other_threads: frozenset[int] = frozenset()
"""Threads that ran before the revision began; their work is not the revision's."""


def observe_once(steps: Iterable[MigrationStep], connection: Connection) -> Iterator[MigrationStep]:
    """Yield *steps*; the first run of each in this process logs a warning if it opens a connection of its own.

    Observation of every tenant would take twice as long.
    """
    for step in steps:
        if isinstance(step, RevisionStep) and (key := (step.revision.path, step.is_upgrade)) not in _once:
            _once.add(key)
            _observe(step, connection)
        yield step


def _observe(step: RevisionStep, connection: Connection) -> None:
    run: Callable[..., object] = step.migration_fn
    revision = str(step.revision.revision)

    def migration_fn(**options: Any) -> object:
        with observing(connection.connection.driver_connection, lambda what: warn(revision, what)):
            return run(**options)

    step.migration_fn = migration_fn


def warn(revision: str, what: str) -> None:
    """Log, once in this process, that a *revision* uses another connection; other outside work may be intended."""
    if what == OWN_CONNECTION and revision not in _told:
        _told.add(revision)
        _log.warning(
            "Revision %s %s: that is outside of the tenant's transaction and schema, and is not rolled back when "
            "the revision fails. Use op.get_bind().",
            revision,
            what,
        )


@contextmanager
def observing(connection: object, report: Report, values: Values | None = None) -> Generator[None]:
    """Call *report* for work outside of a driver's *connection* during a block that runs a revision.

    With *values*, it also observes values from outside.
    """
    global _other_threads  # noqa: PLW0603 - an audit hook cannot be removed, so a variable turns it on and off
    _add_audit_hook()
    here, profile = threading.get_ident(), sys.getprofile()
    _other_threads = frozenset(thread.ident for thread in threading.enumerate() if thread.ident) - {here}
    _observed[here] = report
    if values is not None:
        _observed_values[here] = values
    observed = profile is None  # otherwise a profiler or debugger is active
    of_threads: Any = threading.getprofile()
    if values is not None and not observed:
        values.report("cannot be observed, as a profiler is active")
    if observed:
        threading.setprofile(function := _profile(connection, report, values))
        sys.setprofile(function)
    try:
        yield
    finally:
        if observed:
            sys.setprofile(None)
            threading.setprofile(of_threads)
        del _observed[here]
        _observed_values.pop(here, None)


@cache
def _add_audit_hook() -> None:
    sys.addaudithook(_on_audit_event)


def _on_audit_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _observed or threading.get_ident() in _other_threads:
        return
    if (what := describe(event, arguments)) is not None:
        for report in list(_observed.values()):
            report(what)
        return
    for values in list(_observed_values.values()):
        if (what := describe_reading(event, arguments, values.known)) is not None:
            values.report(what)


def _profile(own: object, report: Report, values: Values | None = None) -> Callable[[FrameType, str, Any], None]:
    """Return a profile function that reports statements on other connections than *own*, or past SQLAlchemy."""
    codes, varying = _codes_of_psycopg() | _codes_of_others(), codes_that_vary()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if values is not None:
            what = describe_call(frame, argument) if event == "c_call" else None
            if event == "call":
                what = varying.get(frame.f_code)
            if what is not None:
                values.report(what)
        if event != "call" or frame.f_code not in codes:
            return
        cursor = frame.f_locals.get("self")
        if getattr(cursor, "connection", None) is not own:
            report(OWN_CONNECTION)
        elif frame.f_back is None or not _is_ours(frame.f_back):
            report(OWN_CURSOR)

    return profile


@cache
def _codes_of_psycopg() -> frozenset[CodeType]:
    kinds = (psycopg.Cursor, psycopg.ServerCursor, psycopg.AsyncCursor, psycopg.AsyncServerCursor)
    names = ("execute", "executemany", "stream", "copy")
    functions = [getattr(kind, name) for kind in kinds for name in names]
    # copy() is wrapped by contextlib.
    return frozenset(getattr(function, "__wrapped__", function).__code__ for function in functions)


def _codes_of_others() -> frozenset[CodeType]:
    connect = getattr(sys.modules.get("psycopg2"), "connect", None)
    return frozenset() if connect is None else frozenset({connect.__code__})


def _is_ours(frame: FrameType) -> bool:
    """Return whether a statement comes from SQLAlchemy, whose events report it, or from the driver's own methods."""
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in {"sqlalchemy", "tenantkit"}
