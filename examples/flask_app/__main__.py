"""Serve the tracker on this machine: ``python -m examples.flask_app``, or ``make flask``.

In production, use any WSGI server: `create_app` returns the application.
"""

from __future__ import annotations

import os

import waitress

from examples.flask_app.app import create_app
from examples.settings import database_url, read_settings
from examples.start import announce, exit_on_sigterm, prepare
from examples.tracker.app import make_tenancy


def main() -> None:
    """Prepare the database, print the addresses, and serve."""
    port = int(os.environ.get("PORT", "8000"))
    exit_on_sigterm()
    tenancy = make_tenancy(database_url())
    try:
        prepare(tenancy)
        announce(tenancy, port=port)
        waitress.serve(create_app(tenancy, read_settings()), listen=f"127.0.0.1:{port}", threads=8)
    finally:
        tenancy.close()


if __name__ == "__main__":
    main()
