"""Logins, and their cookies.

A login is valid for one place: for one tenant, or for the pages without a tenant. Each place has a cookie of its
own. Below ``/t/acme`` it is sent to that path only, at ``acme.localhost`` to that host only. Because a cookie can be
copied, it contains its tenant, and every other tenant refuses it.

The cookie identifies the user. Every request checks the membership in the database.
"""

from __future__ import annotations

from typing import cast

from flask import Flask, flash, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from typing_extensions import override

from examples.flask_app.extensions import kit
from examples.tracker.accounts import role_in
from examples.tracker.models import Member, Role, User
from tenantkit import Tenant, current_tenant
from tenantkit.context import current_tenant_or_none
from tenantkit.web import session_cookies

_ACCOUNT = "account_id"
_MEMBER = "member_id"


class Cookies(SecureCookieSessionInterface):
    """Signed cookies, one for each place."""

    @override
    def get_cookie_name(self, app: Flask) -> str:
        return "account" if _place() is None else "session"

    @override
    def get_cookie_path(self, app: Flask) -> str:
        return path_of(g.entered) if "entered" in g else request.script_root or "/"


def log_in(user: User) -> None:
    """Log *user* in to the place of the request."""
    session.clear()
    session.permanent = True
    tenant = _place()
    if tenant is None:
        session[_ACCOUNT] = user.id
    else:
        session[_MEMBER] = user.id
        session_cookies.bind(session, tenant)


def enter(tenant: Tenant, user: User) -> ResponseReturnValue:
    """Log *user* in to *tenant* from a page without a tenant, and redirect to it.

    The tenant is opened by its path, because this host cannot set a cookie for the tenant's own host.
    """
    g.entered = tenant
    log_in(user)
    return redirect(f"{path_of(tenant)}/")


def log_out() -> None:
    """End the login for the place of the request."""
    session.clear()


def path_of(tenant: Tenant) -> str:
    """Return the path prefix of a tenant at the host without a tenant."""
    return f"{request.script_root}/t/{tenant.key}"


def account() -> User | None:
    """Return the user who is logged in to the pages without a tenant."""
    user_id = session.get(_ACCOUNT)
    return None if user_id is None else kit.shared_session.get(User, user_id)


def require_member() -> ResponseReturnValue | None:
    """Redirect all users except members of the current tenant to the login page."""
    tenant = current_tenant()
    user_id = session.get(_MEMBER) if session_cookies.is_bound(session, tenant) else None
    role = None if user_id is None else role_in(kit.session, user_id, tenant)
    if role is None:
        log_out()
        flash(f"Please log in to {tenant.name}.")
        return redirect(url_for("access.login"))
    g.role = role
    g.member = kit.session.get_one(Member, user_id)
    return None


def current_member() -> Member:
    """Return the member who makes the request, on pages with `require_member`."""
    return cast("Member", g.member)


def may_manage() -> bool:
    """Return whether the user may add and remove members."""
    return g.role in {Role.OWNER, Role.ADMIN}


def _place() -> Tenant | None:
    """Return the tenant of the response's cookie."""
    return cast("Tenant", g.entered) if "entered" in g else current_tenant_or_none()
