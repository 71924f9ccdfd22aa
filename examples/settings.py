"""What the example applications are told by the environment: where the database is, and secrets.

==========================  ===========================================================================
``TRACKER_DATABASE_URL``    the database; by default one on the embedded server in ``.tenantkit/``
``TRACKER_SECRET_KEY``      signs cookies; by default a random one, made once and kept in ``.tenantkit/``
``TRACKER_DOMAIN``          tenants are at ``<key>.<domain>``; by default ``localhost``
``TRACKER_HTTPS``           ``1`` if visitors come by HTTPS, so that cookies are never sent without it
==========================  ===========================================================================
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
    """What an example application needs to know."""

    secret_key: str = field(repr=False)
    domain: str = "localhost"
    https: bool = False

    @property
    def own_hosts(self) -> list[str]:
        """The hosts without a tenant. No others must be trusted: redirects are made from the Host header."""
        return [self.domain, *(["127.0.0.1"] if self.domain == "localhost" else [])]


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the environment gives, and defaults for development."""
    return Settings(
        secret_key=environ.get("TRACKER_SECRET_KEY") or _kept_secret(FOLDER / "secret_key"),
        domain=environ.get("TRACKER_DOMAIN", "localhost"),
        https=environ.get("TRACKER_HTTPS") == "1",
    )


def database_url(environ: Mapping[str, str] = os.environ) -> URL:
    """Return the URL of the database; without one in the environment, start the embedded server."""
    given = environ.get("TRACKER_DATABASE_URL")
    return make_url(given) if given else embedded_database(FOLDER, name="tracker")


def _kept_secret(file: Path) -> str:
    """Return the secret in *file*, which is made, readable for its owner only, when it is first asked for."""
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and then linked: of two processes that start at once, both end up with the same, whole secret.
    handle, draft = mkstemp(dir=file.parent)
    with open(handle, "w", encoding="ascii") as new:  # noqa: PTH123 - not a path
        new.write(secrets.token_urlsafe(48))
    with suppress(FileExistsError):
        file.hardlink_to(draft)
    Path(draft).unlink()
    return file.read_text(encoding="ascii")
