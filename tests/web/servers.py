"""Real servers in threads, on free loopback ports."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import uvicorn
from typing_extensions import override
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_PATIENCE = 60  # seconds


@contextmanager
def serving_asgi(app: Any, **options: Any) -> Generator[int]:
    """Serve *app* with uvicorn, and yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", ws="websockets-sansio", **options)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        assert server.started
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)
        assert not thread.is_alive(), "a request, or a client's connection, does not end"
        listener.close()


class _KeepAlive(WSGIRequestHandler):
    """Serves several requests on one connection, so that a request could see state of another on the thread."""

    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE / 2  # otherwise a disconnected client would prevent the server's end

    @override
    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving_wsgi(app: WSGIApplication, *, threaded: bool = True) -> Generator[int]:
    """Serve *app* with Werkzeug's server, with a thread for each connection or one for all, and yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=threaded, request_handler=_KeepAlive)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(_PATIENCE)
        server.server_close()
