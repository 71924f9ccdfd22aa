"""The little of a request that names a tenant, the same for every framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantkit.exceptions import ConfigurationError

_HOST = re.compile(r"([a-z0-9_](?:[a-z0-9._-]{0,252}))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What a resolver sees of a request.

    ::

        RequestView(host="acme.example.com", path="/invoices", headers={"x-tenant": "acme"})
    """

    host: str = ""
    """The host without port and trailing dot, in lower case; empty if it was missing or malformed."""
    path: str = "/"
    """The decoded path below the application's root."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """By lower-case names; one that was sent twice has its values joined by a comma, which no key contains."""
    load_session: Callable[[], Mapping[str, Any]] | None = None
    """Reads the framework's session, if it has one."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies; of several with one name, the first, which is the one for the longest path."""
        found: dict[str, str] = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, equals, value = pair.partition("=")
            if equals:
                found.setdefault(name.strip(), value.strip().strip('"'))
        return found

    @property
    def session(self) -> Mapping[str, Any]:
        """The framework's session.

        :raises ConfigurationError: if there is none here.
        """
        if self.load_session is None:
            raise ConfigurationError(
                "The tenant is to be found in the session, but this request has none. Does the framework's "
                "session middleware run outside of TenantMiddleware?"
            )
        return self.load_session()


def parse_host(header: str) -> str:
    """Return the host that a ``Host`` header names, as `RequestView.host` has it.

    Whatever is not a plain host name or IPv4 address with an optional port
    (IPv6, user names, escapes, several values) gives the empty string: no
    tenant is reached by it.
    """
    match = _HOST.fullmatch(header)
    return match[1].lower().removesuffix(".") if match else ""
