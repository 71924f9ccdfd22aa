"""Serve the tracker on this machine: ``python -m examples.flask_app``, or ``make flask``.

In production, use any WSGI server: `create_app` returns the application.
"""

from __future__ import annotations

import os
from contextlib import closing

import waitress

from examples.flask_app.app import create_app
from examples.settings import read_settings
from examples.start import announce, exit_on_sigterm, prepare
from examples.tracker import app as tracker


def main() -> None:
    """Prepare the database, print the addresses, and serve."""
    port = int(os.environ.get("PORT", "8000"))
    exit_on_sigterm()
    with closing(tracker.tenancy()) as operator, closing(tracker.application()) as tenancy:
        prepare(operator)
        announce(operator, port=port)
        app = create_app(tenancy, read_settings(), operator=operator)
        waitress.serve(app, listen=f"127.0.0.1:{port}", threads=8)


if __name__ == "__main__":
    main()
