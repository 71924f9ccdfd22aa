"""Who is logged in, and where.

A log-in is good for one place: for one tenant, or for the pages that have no tenant. Each place has a cookie of
its own. Below ``/t/acme`` the cookie goes to that path only, at ``acme.localhost`` to that host only; and because
a cookie can be copied, what is in it says which tenant it is for, and it is refused at every other.

The cookie only says who somebody is. Whether they may be here is asked of the database on every request.
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
    """Log *user* in where they are."""
    session.clear()
    session.permanent = True
    tenant = _place()
    if tenant is None:
        session[_ACCOUNT] = user.id
    else:
        session[_MEMBER] = user.id
        session_cookies.bind(session, tenant)


def enter(tenant: Tenant, user: User) -> ResponseReturnValue:
    """Log *user* into *tenant* from a page that has no tenant, and go there.

    By its path: this host cannot set a cookie for the tenant's own host.
    """
    g.entered = tenant
    log_in(user)
    return redirect(f"{path_of(tenant)}/")


def log_out() -> None:
    """End the log-in for the place where the user is."""
    session.clear()


def path_of(tenant: Tenant) -> str:
    """Return the path below which a tenant is reached at the host without a tenant."""
    return f"{request.script_root}/t/{tenant.key}"


def account() -> User | None:
    """Return who is logged in at the pages without a tenant."""
    user_id = session.get(_ACCOUNT)
    return None if user_id is None else kit.shared_session.get(User, user_id)


def require_member() -> ResponseReturnValue | None:
    """Send everyone but members of the current tenant to the log-in page."""
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
    """Return who makes the request, on pages behind `require_member`."""
    return cast("Member", g.member)


def may_manage() -> bool:
    """Return whether whoever makes the request decides who is a member."""
    return g.role in {Role.OWNER, Role.ADMIN}


def _place() -> Tenant | None:
    """Return the tenant that the response's cookie is for."""
    return cast("Tenant", g.entered) if "entered" in g else current_tenant_or_none()
