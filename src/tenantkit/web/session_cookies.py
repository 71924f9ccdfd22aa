"""Web sessions that are bound to one tenant.

A browser may send the session cookie of one tenant to another: by a cookie
domain that spans subdomains, by paths below one host, or because its user
copied it. So a login is bound to the tenant, and refused elsewhere::

    def log_in(user: User, tenant: Tenant) -> None:
        flask.session.clear()
        flask.session["user_id"] = user.id
        session_cookies.bind(flask.session, tenant)

    def logged_in_user_id() -> int | None:
        bound = session_cookies.is_bound(flask.session, current_tenant())
        return flask.session.get("user_id") if bound else None

The session must be signed or kept on the server, as Flask's and Starlette's are.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from tenantkit.arguments import MAPPING, require
from tenantkit.tenant import TENANT, Tenant

__all__ = ["bind", "is_bound"]

_TENANT = "tenantkit.tenant"
"""The identity, not the key: a dropped tenant's key may be given to another customer, and another registry may have the
same key and the same id."""


def bind(session: MutableMapping[str, Any], tenant: Tenant) -> None:
    """Bind a web session to *tenant*, instead of any other."""
    require(session=(session, MAPPING), tenant=(tenant, TENANT))
    session[_TENANT] = tenant.identity


def is_bound(session: Mapping[str, Any], tenant: Tenant) -> bool:
    """Return whether a web session is bound to *tenant*."""
    require(session=(session, MAPPING), tenant=(tenant, TENANT))
    return bool(session.get(_TENANT) == tenant.identity)
