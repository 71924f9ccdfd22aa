"""Chains of resolvers, and validation of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tenantkit.arguments import FUNCTION, Kind, require
from tenantkit.exceptions import ConfigurationError, InvalidDomainError, InvalidTenantKeyError
from tenantkit.naming import validate_domain, validate_key
from tenantkit.resolvers.request import RequestView
from tenantkit.resolvers.target import ByDomain, ByKey, Refusal, Target

Resolver: TypeAlias = Callable[[RequestView], Target | Refusal | str | None]
"""A function that returns the tenant of a request; ``None`` if it names none, a `Refusal` if it must not be served."""


class _FirstOf:
    def __init__(self, resolvers: tuple[Resolver, ...]) -> None:
        self._resolvers = resolvers
        self.blocking = any(is_blocking(resolver) for resolver in resolvers)
        self.mounts = any(mounts(resolver) for resolver in resolvers)

    def __call__(self, request: RequestView) -> Target | Refusal | str | None:
        for resolver in self._resolvers:
            if (answer := resolver(request)) is not None:
                return answer
        return None


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
    """Return a resolver that calls *resolvers* in turn and returns the first answer.

    ::

        first_of(Subdomain("example.com"), PathPrefix("/t"), Domain())

    An answer that names no existing tenant ends the search too: a request that
    names a tenant never gets another one. In any order of the resolvers, the
    middleware does not serve one tenant at the host of another.

    :raises TypeError: if one of them is no resolver.
    :raises ConfigurationError: if there is none.
    """
    if not resolvers:
        raise ConfigurationError("first_of() needs resolvers: first_of(Subdomain('example.com'), Domain()).")
    for number, resolver in enumerate(resolvers, 1):
        require(**{f"resolver_{number}": (resolver, RESOLVER)})
    return _FirstOf(resolvers)


def is_blocking(resolver: Resolver) -> bool:
    """Return whether *resolver* does I/O, so that it must not run in an event loop: its attribute ``blocking``."""
    return bool(getattr(resolver, "blocking", False))


def mounts(resolver: Resolver) -> bool:
    """Return whether *resolver* takes prefixes off the path: its attribute ``mounts``, as `PathPrefix` has it."""
    return bool(getattr(resolver, "mounts", False))


def resolve(resolver: Resolver, request: RequestView) -> Target | Refusal | None:
    """Return the tenant that *request* names, with a key or domain that is valid; ``None`` if it names none.

    :raises TypeError: if the resolver returns anything but a key, `ByKey`, `ByDomain`, `Refusal` or ``None``.
    """
    answer = resolver(request)
    try:
        match answer:
            case None | Refusal():
                return answer
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


def resolve_both(resolver: Resolver, request: RequestView) -> tuple[Target | Refusal | None, Target | None]:
    """Return the tenant that *request* names, and the one that its host alone names, if that is another.

    A browser lets the pages of one host access each other. So if the host belongs to a tenant, a path, a header or a
    cookie must not name another. The registry knows whether the host belongs to one, so the caller compares.
    """
    target = resolve(resolver, request)
    if target is None or isinstance(target, Refusal):
        return target, None
    return target, _host_target(resolver, request, target)


def _host_target(resolver: Resolver, request: RequestView, target: Target) -> Target | None:
    """Call *resolver* with the host alone; an answer that it gives without any host does not depend on the host."""
    try:
        alone = resolve(resolver, RequestView(host=request.host, load_session=dict))
        if alone is None or isinstance(alone, Refusal) or _is_same(alone, target):
            return None
        return None if alone == resolve(resolver, RequestView(load_session=dict)) else alone
    except Exception:  # noqa: BLE001 - a resolver that fails without the rest of the request needs more than a host
        return None


def _is_same(one: Target, other: Target) -> bool:
    if isinstance(one, ByKey) and isinstance(other, ByKey):
        return one.key == other.key  # whether or not a prefix named it
    return one == other
