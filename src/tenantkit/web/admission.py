"""Admission of requests: pure decisions that the ASGI and the WSGI middleware share.

- A tenant that is active, or read-only, is served.
- One that is being provisioned, suspended or in maintenance is refused with 503, its message, if it has one, and
  Retry-After: at its announced end, if that has not passed.
  So is one whose drop is scheduled: that can be cancelled.
- The same holds for a tenant that a newer version of tenantkit has placed where this one cannot reach it.
- So is a request in which the tenant is suspended meanwhile, or that writes although the tenant is read-only, if its
  response has not begun.
- No tenant, an unknown one, and one whose provisioning failed or that is being dropped are refused with 404.
  So is a request that names two tenants, for example one by its host and another by its path.
- A request with a token that does not verify is refused with 401 and WWW-Authenticate.
- While the database does not answer, and the tenant is not in memory, a request is refused with 503 and Retry-After.
- One whose tables have moved while it was served, which the error of a write tells, is answered with 503 and
  Retry-After, unless the response has begun: the next request goes to the new tables.
- A shared route is always served: with its tenant if that is active, else without any.
- So is a CORS preflight: it asks about a route, and carries neither headers nor cookies that could name a tenant.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Literal

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError  # noqa: A004 - of the pool

from tenantkit.arguments import TEXTS, Kind, require
from tenantkit.exceptions import ConfigurationError, TenantMovedError, TenantUnavailableError
from tenantkit.isolation.isolations import Isolations
from tenantkit.resolvers import ByDomain, ByKey, Refusal, Target
from tenantkit.status import SERVED, Status
from tenantkit.tenant import Tenant

logger = logging.getLogger(__name__)

_RETRY_AFTER: Mapping[str, int] = {
    Status.PROVISIONING: 5,
    Status.MAINTENANCE: 60,
    Status.READ_ONLY: 60,
    Status.SUSPENDED: 3600,
    Status.DROP_SCHEDULED: 3600,
}
"""Seconds for Retry-After by status; a tenant of another status is refused as if it did not exist."""
_OUTAGES = frozenset({"08", "28", "3D", "53", "57"})
"""Classes of SQLSTATE of outages: connection, login, database, resources, operator's intervention."""


UNKNOWN = Refusal(404, "Unknown tenant")
MOVED = Refusal(503, "This tenant is unavailable for a moment", retry_after=1)
UNREACHABLE = Refusal(503, "This service is unavailable for a moment", retry_after=5)

_PATHS = Kind("a list of paths", lambda each: isinstance(each, Iterable))

REFUSAL = "tenantkit.refusal"
"""The key of ASGI scopes and WSGI environs for the `Refusal` with which a shared route has no tenant."""
TENANCY = "tenantkit.tenancy"
"""The key of ASGI scopes and WSGI environs for the tenancy that serves the request."""


def refusal_of(isolations: Isolations, tenant: Tenant | None, *others: Tenant | None) -> Refusal | None:
    """Return the refusal of a request for *tenant*, or ``None`` if it is served.

    :param isolations: those of the tenancy, which know whether the tenant can be reached.
    :param others: tenants that the request names as well, by its host or to an outer middleware.
    """
    if tenant is None or any(other is not None and _differ(tenant, other) for other in others):
        return UNKNOWN
    if isolations.problem(tenant) is not None:
        return Refusal(503, "This tenant is unavailable", _RETRY_AFTER[Status.MAINTENANCE], tenant)
    if tenant.status in SERVED:
        return None
    return _unavailable(tenant, tenant)


def refusal_after(error: TenantUnavailableError, tenant: Tenant | None) -> Refusal | None:
    """Return the refusal of a request in which a session of its *tenant* was refused, or not allowed to write.

    That happens if the tenant is suspended during the request, or is read-only. ``None`` if the error is about another
    tenant.
    """
    if tenant is None or tenant.key != error.tenant:
        return None
    return MOVED if isinstance(error, TenantMovedError) else _unavailable(tenant, error)


def _unavailable(tenant: Tenant, said: Tenant | TenantUnavailableError) -> Refusal:
    seconds = _RETRY_AFTER.get(said.status)
    if seconds is None:
        return UNKNOWN
    until, now = said.until, datetime.now(UTC)
    if until is not None and until > now:
        seconds = ceil((until - now).total_seconds())
    else:
        until = None
    is_read_only = said.status == Status.READ_ONLY
    detail = "This tenant can only be read for now" if is_read_only else f"This tenant is unavailable ({said.status})"
    return Refusal(503, said.message or detail, seconds, tenant, until=until)


def _differ(tenant: Tenant, other: Tenant) -> bool:
    """Return whether these are two tenants of one registry; those of two may be served together."""
    return tenant.registry == other.registry and tenant.id != other.id


def refusal_on(error: Exception) -> Refusal:
    """Return the refusal of a request while the database does not answer, so that its tenant cannot be looked up.

    :raises Exception: *error* itself, if it has another cause.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if (
        isinstance(error, OperationalError | InterfaceError | TimeoutError | OSError)
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
        or str(getattr(cause, "sqlstate", None))[:2] in _OUTAGES
    ):
        logger.warning("The tenant of a request cannot be looked up: %s", error)
        return UNREACHABLE
    raise error


def name_of(target: Target) -> tuple[Literal["key", "domain"], str]:
    """Return the name in the cache of the tenant of *target*."""
    match target:
        case ByKey(key):
            return "key", key
        case ByDomain(domain):
            return "domain", domain


def is_named(target: Target | Refusal | None, refusal: Refusal) -> bool:
    """Return whether a refused request named a tenant; an unknown host may be the application's own."""
    return isinstance(target, ByKey | Refusal) or refusal.tenant is not None or refusal is UNREACHABLE


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request is a CORS preflight, given its headers by lower-case names."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


class SharedPaths:
    """Paths that need no tenant: ``/login`` is one, ``/static/*`` everything below ``/static/``.

    They are compared with the path of routes, without a tenant's path prefix.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: set[str] = set()
        starts: list[str] = []
        if isinstance(patterns, str):
            raise ConfigurationError(f"shared={patterns!r} must be a list of paths. Write shared=[{patterns!r}].")
        require(shared=(patterns, _PATHS))
        patterns = list(patterns)
        require(shared=(patterns, TEXTS))
        for pattern in patterns:
            start = pattern.removesuffix("*")
            if not pattern.startswith("/") or "*" in start or (start != pattern and not start.endswith("/")):
                raise ConfigurationError(
                    f"{pattern!r} is no shared path. Write '/login', or '/static/*' for all below."
                )
            if start == pattern:
                self._exact.add(pattern)
            else:
                starts.append(start)
        self._starts = tuple(starts)

    def __contains__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._starts)
