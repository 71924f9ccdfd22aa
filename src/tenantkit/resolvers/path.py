"""A resolver by path: ``/t/acme/invoices``."""

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
    """A resolver that takes the part of the path after a prefix as the key.

    ::

        PathPrefix("/t")     # /t/acme/invoices -> acme; the application sees /invoices, mounted at /t/acme

    Routes are written without the prefix, and the framework's own URL building
    (``url_for``) adds it, because it becomes the application's root.
    """

    mounts = True

    def __init__(self, prefix: str) -> None:
        require(prefix=(prefix, TEXT))
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(f"PathPrefix({prefix!r}) needs a path such as '/t', without a slash at its end.")
        self._start = f"{prefix}/"

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the part after the prefix as a key, with the prefix for the application's root."""
        if not request.path.startswith(self._start) or request.path == self._start:
            return None
        key = request.path.removeprefix(self._start).partition("/")[0]
        return ByKey(key, prefix=self._start + key)
