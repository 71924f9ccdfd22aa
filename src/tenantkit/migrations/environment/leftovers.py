"""Refusal of threads and tasks that a revision has left running, and that use ``op`` after its end.

``alembic.op`` and ``alembic.context`` are module globals, so such code would work in the next tenant. A thread belongs
to the revision that started it, also indirectly; a task of asyncio runs in a copy of that revision's context.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, ref

from alembic import context, op
from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, event
from typing_extensions import override

from tenantkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

_GRACE = 0.2
"""Seconds for threads to end after their revision, such as those of an executor that is garbage then."""
_ADVICE = (
    "Let the revision wait for its threads and tasks, for example by join(), by 'with ThreadPoolExecutor() as pool:', "
    "or by asyncio.run()"
)

_log = logging.getLogger("tenantkit.migrations")


class Recorder(Protocol):
    """Records a run for other placements."""

    def refuse(self, reason: str) -> None:
        """Note the reason why the recording cannot be sent to them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """A revision at one placement, or all that Alembic does between revisions."""

    revision: str
    schema: str
    started: list[ref[Thread]] = field(default_factory=list["ref[Thread]"])

    def running(self) -> list[Thread]:
        """Return the threads that it started, after some time for their end, if they are still running."""
        deadline = monotonic() + _GRACE
        threads = [thread for each in self.started if (thread := each()) is not None and thread.is_alive()]
        for thread in threads:
            thread.join(max(deadline - monotonic(), 0))
        return [thread for thread in threads if thread.is_alive()]


_context: ContextVar[_Owner | None] = ContextVar("tenantkit_revision", default=None)
_threads = WeakKeyDictionary[Thread, _Owner]()
"""The threads that revisions have started."""
_running: set[_Owner] = set()
_told: set[str] = set()


class Leftovers:
    """Refuses, in one run of Alembic's environment, what earlier revisions and runs have left."""

    def __init__(self, connection: Connection, schema: str, recorder: Recorder | None) -> None:
        """Watch *connection*, and give *recorder* the reason if a revision cannot be replayed."""
        self._connection = connection
        self._schema = schema
        self._recorder = recorder
        self._thread: Thread | None = None
        self._current = _Owner("", schema)
        self._users = set[Thread]()
        self._refused: ConfigurationError | None = None

    @contextmanager
    def refused(self) -> Generator[None]:
        """Refuse them during a block.

        :raises ConfigurationError: at its end, if one of them was refused: what it was to do is missing elsewhere.
        """
        self._thread = threading.current_thread()
        event.listen(self._connection, "before_cursor_execute", self._on_statement)
        driver: Any = self._connection.connection.driver_connection
        try:
            with self._owning(self._current), _noting_starts(), _guarding(driver, self.require_current):
                yield
                if self._refused is not None:
                    raise self._refused
        finally:
            event.remove(self._connection, "before_cursor_execute", self._on_statement)

    def watch(self, steps: Iterable[MigrationStep]) -> Iterator[MigrationStep]:
        """Yield *steps*, and let threads and tasks belong to the revision of each."""
        for module in (op, context):
            module.__dict__["_proxy"] = _Guarded(module.__dict__["_proxy"], self.require_current)
        for step in steps:
            if isinstance(step, RevisionStep):
                self._watch(step)
            yield step

    def require_current(self) -> None:
        """Raise unless the caller belongs to the running revision.

        :raises ConfigurationError: if it does not.
        """
        thread = threading.current_thread()
        owner = _context.get()
        if thread is not self._thread:
            owner = owner or _threads.get(thread) or _Owner("", "")
            self._users.add(thread)
        if owner is not None and owner is not self._current:
            self._refused = ConfigurationError(f"{_describe(owner)}. It was refused. {_ADVICE}.")
            _log.error("%s", self._refused)
            raise self._refused

    def _on_statement(self, *_: Any) -> None:
        self.require_current()

    def _watch(self, step: RevisionStep) -> None:
        run: Callable[..., object] = step.migration_fn
        revision = str(step.revision.revision)

        def migration_fn(**options: Any) -> object:
            self._users.clear()
            with self._owning(_Owner(revision, self._schema)) as owner:
                result = run(**options)
            self._require_end(owner)
            return result

        step.migration_fn = migration_fn

    @contextmanager
    def _owning(self, owner: _Owner) -> Generator[_Owner]:
        before, self._current = self._current, owner
        token = _context.set(owner)
        _running.add(owner)
        try:
            yield owner
        finally:
            _running.discard(owner)
            _context.reset(token)
            self._current = before

    def _require_end(self, owner: _Owner) -> None:
        """Raise if a thread of a revision that has ended uses ``op``; log a warning if another one is still running."""
        running = owner.running()
        for thread in running:
            if thread in self._users:
                raise ConfigurationError(
                    f"Revision {owner.revision} left a thread running that uses op ({thread.name}). {_ADVICE}."
                )
        if running and self._recorder is not None:
            self._recorder.refuse(f"revision {owner.revision} leaves a thread running ({running[0].name})")
        if running and owner.revision not in _told:
            _told.add(owner.revision)
            _log.warning(
                "Revision %s left a thread running (%s), which can no longer use op. %s.",
                owner.revision,
                running[0].name,
                _ADVICE,
            )


class _Guarded:
    """The object behind ``alembic.op`` or ``alembic.context``, for the running revision only."""

    def __init__(self, proxied: object, require: Callable[[], None]) -> None:
        self.__dict__.update(_proxied=proxied, _require=require)

    def __getattr__(self, name: str) -> Any:
        self._require()
        return getattr(self._proxied, name)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._proxied, name, value)


@contextmanager
def _guarding(driver: Any, require: Callable[[], None]) -> Generator[None]:
    """Call *require* before each command on a driver's connection during a block.

    psycopg calls ``wait`` for each of them. The connection may serve others afterwards, so it goes on to refuse threads
    and tasks of revisions that have ended.
    """
    waits, own = driver.__class__.wait, ref(driver)

    def guard(before: Callable[[], None]) -> None:
        def wait(*arguments: Any, **options: Any) -> Any:
            before()
            return waits(own(), *arguments, **options)

        driver.wait = wait

    guard(require)
    try:
        yield
    finally:
        guard(_require_running)


def _require_running() -> None:
    """Raise if the caller belongs to a revision that has ended."""
    owner = _context.get() or _threads.get(threading.current_thread())
    if owner is not None and owner not in _running:
        error = ConfigurationError(f"{_describe(owner)}. It was refused. {_ADVICE}.")
        _log.error("%s", error)
        raise error


def _describe(owner: _Owner) -> str:
    if not owner.revision:
        return "A thread that the running revision has not started uses op or the connection of the revision"
    return (
        f"Revision {owner.revision} left a thread or a task running in the schema {owner.schema!r}, which may lack its "
        "result: after the end of the revision, it uses op or the connection"
    )


@contextmanager
def _noting_starts() -> Generator[None]:
    """Note the owner of each thread that is started during a block."""
    start = Thread.start

    @wraps(start)
    def noting(thread: Thread) -> None:
        owner = _context.get() or _threads.get(threading.current_thread())
        if owner is not None:
            _threads[thread] = owner
            owner.started.append(ref(thread))
        start(thread)

    Thread.start = noting  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Thread.start = start  # type: ignore[method-assign]
