"""Resolvers by host: ``acme.example.com``, or a tenant's own domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.arguments import TEXT, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.resolvers.request import parse_host
from tenantkit.resolvers.target import ByDomain, ByKey

if TYPE_CHECKING:
    from tenantkit.resolvers.request import RequestView


class Subdomain:
    """A resolver that takes the label before a base domain as the key.

    ::

        Subdomain("example.com")                 # acme.example.com -> acme
        Subdomain("example.com", "localhost")    # and acme.localhost while developing

    The base domain itself, and other hosts, name no tenant. Several labels
    (``a.b.example.com``) name an unknown one.
    """

    def __init__(self, *bases: str) -> None:
        for base in bases:
            require(base=(base, TEXT))
        if not bases or any(not base or parse_host(base) != base for base in bases):
            raise ConfigurationError(
                f"Subdomain{bases!r} needs one or more base domains such as 'example.com': lower case, without port."
            )
        self._endings = tuple(f".{base}" for base in bases)

    def __call__(self, request: RequestView) -> ByKey | None:
        """Return the label as a key."""
        for ending in self._endings:
            if request.host.endswith(ending):
                return ByKey(request.host.removesuffix(ending))
        return None


class Domain:
    """A resolver that looks the host up among the domains in the registry: ``tenancy.add_domain("acme", "acme.com")``.

    Any other host is an unknown tenant, so `Domain` must be the last argument of `first_of`.
    """

    def __call__(self, request: RequestView) -> ByDomain | None:
        """Return the host as a domain."""
        return ByDomain(request.host) if request.host else None
