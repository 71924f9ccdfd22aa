"""Asynchronous objects behind a synchronous face, so that one test body serves both colours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal


class Blocking:
    """Calls the methods of *target* in a portal's event loop, and waits for what they return.

    Asynchronous context managers (a session, a savepoint) come back as synchronous ones.
    """

    def __init__(self, target: Any, portal: BlockingPortal) -> None:
        vars(self).update(_target=target, _portal=portal)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **options: Any) -> Any:
            return self._finish(self._portal.call(_call, value, args, options))

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target, name, value)

    def __contains__(self, item: Any) -> bool:
        return item in self._target

    def _finish(self, result: Any) -> Any:
        return _manager(result, self._portal) if hasattr(result, "__aenter__") else result

    def __enter__(self) -> Blocking:  # noqa: PYI034 - the subclass returns another object
        self._portal.call(self._target.__aenter__)
        return self

    def __exit__(self, *error: object) -> None:
        self._portal.call(self._target.__aexit__, *error)


class _ManagedBlocking(Blocking):
    """For a context manager that yields something else, or itself."""

    def __enter__(self) -> Blocking:
        return Blocking(self._portal.call(self._target.__aenter__), self._portal)


def _manager(result: Any, portal: BlockingPortal) -> Blocking:
    return _ManagedBlocking(result, portal)


async def _call(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    result = function(*args, **options)
    return await result if inspect.iscoroutine(result) else result


def in_sync(session: Any, function: Callable[[Any], Any]) -> Any:
    """Call *function* with the synchronous session itself: what lazy loading needs in both colours."""
    return session.run_sync(function) if isinstance(session, Blocking) else function(session)


@contextmanager
def blocking(target: Any, portal: BlockingPortal) -> Generator[Any]:
    """Yield *target* as a synchronous object, and close it at the end."""
    face = Blocking(target, portal)
    try:
        yield face
    finally:
        face.close()
