"""Settings of the example applications from the environment.

===========================  ==========================================================================
``TRACKER_DATABASE_URL``     the database, with the login that migrates and creates tenants; by default one
                             on the embedded server in ``.tenantkit/``
``TRACKER_APPLICATION_URL``  the same with the login of pages and API; by default that of the other URL, or
                             on the embedded server one that may only read and write rows
``TRACKER_ISOLATION``        of new tenants: ``schema``, which is the default, ``database`` or ``row``
``TRACKER_SECRET_KEY``       signs cookies; by default a random key, stored in ``.tenantkit/``
``TRACKER_DOMAIN``           tenants are at ``<key>.<domain>``; by default ``localhost``
``TRACKER_HTTPS``            ``1`` for cookies that are sent by HTTPS only
===========================  ==========================================================================
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkstemp

from sqlalchemy import URL, make_url

from tenantkit.embedded import embedded_database

FOLDER = Path(__file__).parents[1] / ".tenantkit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an example application."""

    secret_key: str = field(repr=False)
    domain: str = "localhost"
    https: bool = False

    @property
    def own_hosts(self) -> list[str]:
        """The hosts without a tenant. No others may be trusted, because redirects contain the Host header."""
        return [self.domain, *(["127.0.0.1"] if self.domain == "localhost" else [])]


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the environment, with defaults for development."""
    return Settings(
        secret_key=environ.get("TRACKER_SECRET_KEY") or _kept_secret(FOLDER / "secret_key"),
        domain=environ.get("TRACKER_DOMAIN", "localhost"),
        https=environ.get("TRACKER_HTTPS") == "1",
    )


def database_url(environ: Mapping[str, str] = os.environ) -> URL:
    """Return the URL of the database; without one in the environment, start the embedded server."""
    given = environ.get("TRACKER_DATABASE_URL")
    return make_url(given) if given else embedded_database(FOLDER, name="tracker")


def application_url(environ: Mapping[str, str] = os.environ) -> URL:
    """Return the URL of the database with the login of the application."""
    if given := environ.get("TRACKER_APPLICATION_URL"):
        return make_url(given)
    if environ.get("TRACKER_DATABASE_URL"):
        return database_url(environ)
    return embedded_database(FOLDER, name="tracker", login="tracker_web")


def isolation(environ: Mapping[str, str] = os.environ) -> str:
    """Return the isolation of new tenants."""
    return environ.get("TRACKER_ISOLATION", "schema")


def _kept_secret(file: Path) -> str:
    """Return the secret in *file*, which is created on first use, readable for its owner only."""
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    # Written to another file and then linked, so that two processes that start at once get the same complete secret.
    handle, draft = mkstemp(dir=file.parent)
    with open(handle, "w", encoding="ascii") as new:  # noqa: PTH123 - not a path
        new.write(secrets.token_urlsafe(48))
    with suppress(FileExistsError):
        file.hardlink_to(draft)
    Path(draft).unlink()
    return file.read_text(encoding="ascii")
