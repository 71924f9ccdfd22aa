"""Resolvers by a value that the client sends: a header, a cookie, an entry of its session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tenantkit.arguments import NAME, Kind, require
from tenantkit.resolvers.target import ByKey

if TYPE_CHECKING:
    from tenantkit.resolvers.request import RequestView


_TOKEN = Kind(
    "a name without spaces and separators",
    NAME.has_type,
    lambda each: re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", each) is not None,
)
"""A token of RFC 9110, as the names of headers and cookies are."""


class Header:
    """A resolver that takes a header's value as the key: ``Header("X-Tenant")``.

    Clients choose headers freely: use it behind a gateway that sets it, or
    if every route checks that the user belongs to the tenant. (WSGI cannot
    distinguish ``X-Tenant`` from ``X_Tenant``; let the server drop the latter.)
    """

    def __init__(self, name: str) -> None:
        require(name=(name, _TOKEN))
        self._name = name.lower()

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the header as a key."""
        value = request.headers.get(self._name)
        return None if value is None else ByKey(value)


class Cookie:
    """A resolver that takes a cookie's value as the key: ``Cookie("tenant")``. Clients choose it freely."""

    def __init__(self, name: str) -> None:
        require(name=(name, _TOKEN))
        self._name = name

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the cookie as a key."""
        value = request.cookies.get(self._name)
        return None if value is None else ByKey(value)


class SessionValue:
    """A resolver that takes an entry of the framework's session as the key: ``SessionValue("tenant")``.

    In ASGI the session is the one that Starlette's ``SessionMiddleware`` puts into
    the scope, so that must run outside of ``TenantMiddleware``.
    """

    def __init__(self, name: str) -> None:
        require(name=(name, NAME))
        self._name = name

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the entry as a key."""
        value = request.session.get(self._name)
        return None if value is None else ByKey(str(value))
