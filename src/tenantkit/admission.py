"""Whether a request is served: pure decisions that the ASGI and the WSGI middleware share.

- A tenant that is active is served.
- One that is being provisioned, suspended or in maintenance is refused with 503 and Retry-After.
- One that a newer version of tenantkit has placed where this one cannot reach it likewise.
- No tenant, an unknown one, and one whose provisioning failed or that is being dropped are refused with 404.
- A shared route is always served: with its tenant if that is active, else without any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenantkit.arguments import TEXTS, Kind, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.resolvers import ByKey, Target
from tenantkit.tenant import SERVED, Status, Tenant, unsupported

_RETRY_AFTER: Mapping[str, int] = {Status.PROVISIONING: 5, Status.MAINTENANCE: 60, Status.SUSPENDED: 3600}
"""In how many seconds to come back; a status that is not here looks like no tenant at all."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served: status code 404, or 503 with Retry-After."""

    status: int
    detail: str
    retry_after: int | None = None
    """In seconds."""
    tenant: Tenant | None = None
    """The one that is unavailable."""

    @property
    def headers(self) -> dict[str, str]:
        """What the response must say: a tenant may exist a moment later."""
        headers = {"cache-control": "no-store"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        return headers

    def body(self, accept: str) -> tuple[str, bytes]:
        """Return content type and content: text where the ``Accept`` header names text, else JSON."""
        if "text/" in accept:
            return "text/plain; charset=utf-8", f"{self.detail}\n".encode()
        return "application/json", json.dumps({"detail": self.detail}).encode()


UNKNOWN = Refusal(404, "Unknown tenant")

_PATHS = Kind("a list of paths", lambda each: isinstance(each, Iterable))

REFUSAL = "tenantkit.refusal"
"""Where ASGI scope and WSGI environ tell a shared route why the tenant that was named is not served: a `Refusal`."""


def refusal_of(tenant: Tenant | None) -> Refusal | None:
    """Return why a request for *tenant* is refused, or ``None`` if it is served."""
    if tenant is None:
        return UNKNOWN
    if unsupported(tenant):
        return Refusal(503, "This tenant is unavailable", _RETRY_AFTER[Status.MAINTENANCE], tenant)
    if tenant.status in SERVED:
        return None
    seconds = _RETRY_AFTER.get(tenant.status)
    if seconds is None:
        return UNKNOWN
    return Refusal(503, f"This tenant is unavailable ({tenant.status})", seconds, tenant)


def is_named(target: Target | None, refusal: Refusal) -> bool:
    """Return whether a refused request named a tenant; a host that is no tenant's may be the application's own."""
    return isinstance(target, ByKey) or refusal.tenant is not None


class SharedPaths:
    """Paths that need no tenant: ``/login`` is one, ``/static/*`` everything below ``/static/``.

    They are compared with the path that routes are matched with, without a tenant's path prefix.
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
