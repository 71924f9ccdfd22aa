"""Resolvers: pure functions that find the tenant of a request from a small view of it.

A resolver takes a `RequestView` and returns `ByKey`, `ByDomain`, a key as a
plain string, a `Refusal`, or ``None`` if the request names no tenant. Any such
callable is a resolver; with an attribute ``blocking`` that is true, it runs in a
thread under asyncio::

    def by_query(request: RequestView) -> str | None:
        return request.headers.get("x-workspace")

Resolvers identify, they do not authorize: the application must check that the
user may enter the tenant.
"""

from tenantkit.resolvers.chain import Resolver, first_of, resolve
from tenantkit.resolvers.host import Domain, Subdomain
from tenantkit.resolvers.path import PathPrefix
from tenantkit.resolvers.request import RequestView
from tenantkit.resolvers.target import ByDomain, ByKey, Refusal, Target
from tenantkit.resolvers.values import Cookie, Header, SessionValue

__all__ = [
    "ByDomain",
    "ByKey",
    "Cookie",
    "Domain",
    "Header",
    "PathPrefix",
    "Refusal",
    "RequestView",
    "Resolver",
    "SessionValue",
    "Subdomain",
    "Target",
    "first_of",
    "resolve",
]
