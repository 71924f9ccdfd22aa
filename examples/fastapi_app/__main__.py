"""Serve the tracker on this machine: ``python -m examples.fastapi_app``, or ``make fastapi``.

In production, use any ASGI server: `create_app` returns the application.
"""

from __future__ import annotations

import os
from contextlib import closing

import uvicorn

from examples.fastapi_app.app import create_app
from examples.settings import read_settings
from examples.start import announce, exit_on_sigterm, prepare
from examples.tracker import app as tracker


def main() -> None:
    """Prepare the database, print the addresses, and serve."""
    port = int(os.environ.get("PORT", "8000"))
    exit_on_sigterm()
    with closing(tracker.tenancy()) as operator:
        prepare(operator)
        announce(operator, port=port)
        app = create_app(tracker.async_application(), read_settings(), operator=operator)
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
