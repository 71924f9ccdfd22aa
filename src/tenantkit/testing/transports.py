"""Calls of WSGI and ASGI applications."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, MutableMapping
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from typing import Any
from urllib.parse import quote, unquote
from wsgiref.util import setup_testing_defaults

from tenantkit.exceptions import ConfigurationError
from tenantkit.tenancy import Tenancy
from tenantkit.testing.clients import Message, Response, Transport
from tenantkit.testing.databases import AnyTenancy
from tenantkit.testing.sessions import close_idle_connections

TIMEOUT = 30.0
"""Number of seconds after which a request to an ASGI application is cancelled, such as a stream of events."""


@contextmanager
def open_transport(app: Any, tenancy: AnyTenancy) -> Generator[Transport]:
    """Yield the transport for *app*; an ASGI application gets an event loop, and its lifespan, for the block.

    At its end, connections of an asynchronous *tenancy* are closed.
    """
    if not inspect.iscoroutinefunction(app) and not inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004 - not a test whether it can be called
        yield _Wsgi(app)
        return
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public function raises instead
        raise ConfigurationError(
            "assert_isolated() runs an ASGI application in an event loop of its own: call it in a test that is a plain "
            "function."
        )
    with asyncio.Runner() as runner:
        lifespan = _Lifespan(app)
        runner.run(lifespan.start())
        try:
            yield _Asgi(app, runner, lifespan.state)
        finally:
            runner.run(lifespan.stop())
            if not isinstance(tenancy, Tenancy):
                runner.run(close_idle_connections(tenancy))


class _Wsgi:
    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app

    def send(self, message: Message) -> Response:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": message.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(message.path, "latin-1"),
            "QUERY_STRING": message.query,
            "SERVER_NAME": message.host,
            "SERVER_PORT": str(message.port),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": BytesIO(message.body),
        }
        for name, value in message.headers:
            variable = name.upper().replace("-", "_")
            environ[variable if variable in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{variable}"] = value
        setup_testing_defaults(environ)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        written: list[bytes] = []

        def start(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[[bytes], None]:
            started.append((status, headers))
            return written.append

        error = None
        try:
            body = self._app(environ, start)
            with closing(body) if hasattr(body, "close") else _nothing():
                written.extend(body)
        except Exception as raised:  # noqa: BLE001 - it is reported
            error = raised
        status, headers = started[-1] if started else ("500 ", [])
        return Response(int(status.split()[0]), headers, b"".join(written), error)


@contextmanager
def _nothing() -> Generator[None]:
    yield


class _Asgi:
    def __init__(self, app: Callable[..., Any], runner: asyncio.Runner, state: dict[str, Any]) -> None:
        self._app = app
        self._runner = runner
        self._state = state

    def send(self, message: Message) -> Response:
        return self._runner.run(self._send(message))

    async def _send(self, message: Message) -> Response:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": message.method,
            "scheme": "http",
            "path": unquote(message.path),
            "raw_path": quote(message.path, safe="/%").encode(),
            "query_string": message.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in message.headers],
            "client": ("127.0.0.1", 50_000),
            "server": (message.host, message.port),
            "state": dict(self._state),
        }
        incoming = [{"type": "http.request", "body": message.body, "more_body": False}]
        ended = asyncio.Event()
        status, headers, written = 500, list[tuple[str, str]](), list[bytes]()

        async def receive() -> MutableMapping[str, Any]:
            if incoming:
                return incoming.pop()
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(event: MutableMapping[str, Any]) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                headers.extend((name.decode("latin-1"), value.decode("latin-1")) for name, value in event["headers"])
            elif event["type"] == "http.response.body":
                written.append(event.get("body", b""))
                if not event.get("more_body", False):
                    ended.set()

        error = None
        try:
            await asyncio.wait_for(self._app(scope, receive, send), TIMEOUT)
        except Exception as raised:  # noqa: BLE001 - it is reported
            error = raised
        return Response(status, headers, b"".join(written), error)


class _Lifespan:
    """The lifespan of an ASGI application; one that does not support it is served without."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._events: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Begin it.

        :raises RuntimeError: if the application fails to start.
        """
        self._task = asyncio.create_task(self._run())
        await self._send("startup")

    async def stop(self) -> None:
        """End it; raises as `start` does."""
        await self._send("shutdown")

    async def _send(self, event: str) -> None:
        await self._events.put({"type": f"lifespan.{event}"})
        answer = await self._answers.get()
        if answer["type"] == f"lifespan.{event}.failed":
            raise RuntimeError(f"The lifespan of the application failed at its {event}: {answer.get('message')}")

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.4"}, "state": self.state}
        with suppress(Exception):  # by the specification, the application has no lifespan then
            await self._app(scope, self._events.get, self._answers.put)
        for _ in ("startup", "shutdown"):  # the events that the application answers no more
            await self._answers.put({"type": "lifespan.over"})
