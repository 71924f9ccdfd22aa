"""Trying resolvers, and making sure of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tenantkit.arguments import FUNCTION, Kind, require
from tenantkit.exceptions import ConfigurationError, InvalidDomainError, InvalidTenantKeyError
from tenantkit.naming import validate_domain, validate_key
from tenantkit.resolvers.request import RequestView
from tenantkit.resolvers.target import ByDomain, ByKey, Target

Resolver: TypeAlias = Callable[[RequestView], Target | str | None]
"""Tells which tenant a request is for; ``None`` if it names none."""


def _advise_resolver(name: str, value: object) -> str | None:
    match value:
        case type():
            return f"Make one of the class: {value.__name__}(...)."
        case list() | tuple():
            return "Write first_of(one, another), without brackets."
        case str():
            return f"Write {'PathPrefix' if value.startswith('/') else 'Subdomain'}({value!r}), for example."
        case _:
            return FUNCTION.advice(name, value)


RESOLVER = Kind(
    "a resolver, which is a plain function of a RequestView",
    lambda each: FUNCTION.has_type(each) and not isinstance(each, type),
    advice=_advise_resolver,
)


def first_of(*resolvers: Resolver) -> Resolver:
    """Return a resolver that asks *resolvers* in turn and takes the first answer.

    ::

        first_of(PathPrefix("/t"), Subdomain("example.com"), Domain())

    An answer that turns out to be no tenant ends the search too: a request
    that names a tenant never gets another one.

    :raises TypeError: if one of them is no resolver.
    :raises ConfigurationError: if there is none.
    """
    if not resolvers:
        raise ConfigurationError("first_of() needs resolvers: first_of(PathPrefix('/t'), Domain()).")
    for number, resolver in enumerate(resolvers, 1):
        require(**{f"resolver_{number}": (resolver, RESOLVER)})

    def ask(request: RequestView) -> Target | str | None:
        for resolver in resolvers:
            if (answer := resolver(request)) is not None:
                return answer
        return None

    return ask


def resolve(resolver: Resolver, request: RequestView) -> Target | None:
    """Return whom *request* is for, with a key or domain that is valid; ``None`` if it names nobody who can exist.

    :raises TypeError: if the resolver returns anything but a key, `ByKey`, `ByDomain` or ``None``.
    """
    answer = resolver(request)
    try:
        match answer:
            case None:
                return None
            case ByDomain(str(domain)):
                return ByDomain(validate_domain(domain))
            case ByKey(str(key)):
                validate_key(key)
                return answer
            case str(key):
                return ByKey(validate_key(key))
            case _:
                raise TypeError(
                    f"The resolver returned a value of the type {type(answer).__qualname__}. Return a tenant's key, a "
                    "string, or ByKey, ByDomain or None."
                )
    except (InvalidTenantKeyError, InvalidDomainError):
        return None
