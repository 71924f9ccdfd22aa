"""Tenants by path: ``/t/acme/invoices``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tenantkit.arguments import TEXT, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.resolvers.target import ByKey

if TYPE_CHECKING:
    from tenantkit.resolvers.request import RequestView

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)


class PathPrefix:
    """The path's part behind a prefix is the key.

    ::

        PathPrefix("/t")     # /t/acme/invoices -> acme; the application sees /invoices, mounted at /t/acme

    Routes are written without the prefix, and the framework's own URL building
    (``url_for``) puts it back, because it becomes the application's root.
    """

    def __init__(self, prefix: str) -> None:
        require(prefix=(prefix, TEXT))
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(f"PathPrefix({prefix!r}) needs a path such as '/t', without a slash at its end.")
        self._start = f"{prefix}/"

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the part behind the prefix as a key, and with it what the root gets."""
        if not request.path.startswith(self._start) or request.path == self._start:
            return None
        key = request.path.removeprefix(self._start).partition("/")[0]
        return ByKey(key, prefix=self._start + key)
