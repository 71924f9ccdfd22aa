"""The parts of a request that may name a tenant, the same for every framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from tenantkit.exceptions import ConfigurationError

_HOST = re.compile(r"([a-z0-9_](?:[a-z0-9._-]{0,252}))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^\\"]|\\.)*"')
_NO_SESSION = (
    "The tenant is to be found in the session, but this request has none. Does the framework's "
    "session middleware run outside of TenantMiddleware? In WSGI, does TenantMiddleware have load_session=?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """The view of a request that a resolver gets.

    ::

        RequestView(host="acme.example.com", path="/invoices", headers={"x-tenant": "acme"})
    """

    host: str = ""
    """The host without port and trailing dot, in lower case; empty if it was missing or malformed."""
    path: str = "/"
    """The decoded path below the application's root."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The headers by lower-case names; the values of a repeated one are joined by a comma, which no key contains."""
    load_session: Callable[[], Mapping[str, Any]] | None = None
    """A function that reads the framework's session, if it has one."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies, as every framework reads them.

        A value that frameworks read differently has a comma or a quote in it, which no key contains: that of a
        cookie that was sent twice with different values, or with unusual spaces around its name, a quoted value with
        escapes, or, after a quote that is not closed, any value.
        """
        return _parse_cookies(self.headers.get("cookie", ""))

    @property
    def session(self) -> Mapping[str, Any]:
        """The framework's session.

        :raises ConfigurationError: if there is none here.
        """
        if self.load_session is None:
            raise ConfigurationError(_NO_SESSION)
        self.headers.get("cookie")  # The session depends on it: `ReadHeaders` notes that.
        return self.load_session()


def _parse_cookies(header: str) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    bare: set[str] = set()
    is_ambiguous = False
    for pair in header.split(";"):
        name, equals, raw = pair.partition("=")
        value = raw.strip(" \t")
        if _QUOTED.fullmatch(value):
            value = value if "\\" in value else value[1:-1]
        elif value.startswith('"'):
            is_ambiguous = True  # Werkzeug looks for the other quote behind the next semicolon.
        names = {name.strip(" \t"), name.strip()}  # Werkzeug strips these, Starlette all that Python calls a space.
        for each in names if equals else ():
            values.setdefault(each, set()).update({value} if len(names) == 1 else {value, ""})
        bare |= set() if equals else names  # For Werkzeug, an empty value.
    if is_ambiguous:
        return dict.fromkeys(values, header)
    for name in bare & values.keys():
        values[name].add("")
    return {name: ",".join(sorted(found)) for name, found in values.items()}


class ReadHeaders(Mapping[str, str]):
    """Headers that record the names that were read, also of missing ones."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.names: set[str] = set()
        """The lower-case names of the headers that were read; ``*`` if all were."""

    @override
    def __getitem__(self, name: str) -> str:
        self.names.add(name.lower())
        return self._headers[name]

    @override
    def __iter__(self) -> Iterator[str]:
        self.names.add("*")
        return iter(self._headers)

    @override
    def __len__(self) -> int:
        self.names.add("*")
        return len(self._headers)

    def vary(self, *values: str) -> str | None:
        """Return the ``Vary`` header of the response, given those that it has; ``None`` if it may stay as it is.

        Caches always distinguish responses by their host.
        """
        missing = self.names - {"host"}
        if not missing:
            return None
        present = [name.strip() for value in values for name in value.split(",") if name.strip()]
        missing -= {name.lower() for name in present}
        if "*" in present or not missing:
            return None
        return "*" if "*" in missing else ", ".join([*present, *sorted(missing)])


def parse_host(header: str) -> str:
    """Return the host that a ``Host`` header names, as `RequestView.host` has it.

    Anything but a plain host name or IPv4 address with an optional port (IPv6,
    user names, escapes, several values) gives the empty string, which names no
    tenant.
    """
    match = _HOST.fullmatch(header)
    return match[1].lower().removesuffix(".") if match else ""
