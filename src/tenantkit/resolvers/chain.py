"""Trying resolvers, and making sure of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tenantkit.exceptions import InvalidDomainError, InvalidTenantKeyError
from tenantkit.naming import validate_domain, validate_key
from tenantkit.resolvers.request import RequestView
from tenantkit.resolvers.target import ByDomain, ByKey, Target

Resolver: TypeAlias = Callable[[RequestView], Target | str | None]
"""Tells which tenant a request is for; ``None`` if it names none."""


def first_of(*resolvers: Resolver) -> Resolver:
    """Return a resolver that asks *resolvers* in turn and takes the first answer.

    ::

        first_of(PathPrefix("/t"), Subdomain("example.com"), Domain())

    An answer that turns out to be no tenant ends the search too: a request
    that names a tenant never gets another one.
    """

    def ask(request: RequestView) -> Target | str | None:
        for resolver in resolvers:
            if (answer := resolver(request)) is not None:
                return answer
        return None

    return ask


def resolve(resolver: Resolver, request: RequestView) -> Target | None:
    """Return whom *request* is for, with a key or domain that is valid; ``None`` if it names nobody who can exist."""
    answer = resolver(request)
    try:
        match answer:
            case None:
                return None
            case ByDomain(domain):
                return ByDomain(validate_domain(domain))
            case ByKey(key):
                validate_key(key)
                return answer
            case key:
                return ByKey(validate_key(key))
    except (InvalidTenantKeyError, InvalidDomainError):
        return None
