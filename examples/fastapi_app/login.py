"""Logins, and their cookies.

A login is valid for one place: for one tenant, or for the routes without a tenant. Each place has a cookie of its
own. Below ``/t/acme`` it is sent to that path only, at ``acme.localhost`` to that host only. Because a cookie can be
copied, it contains its tenant, and every other tenant refuses it.

The cookie identifies the user. Every request checks the membership in the database.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Response, status
from itsdangerous import BadSignature, URLSafeTimedSerializer

from examples.fastapi_app.sessions import SessionDep, SharedSessionDep
from examples.settings import Settings
from examples.tracker.accounts import role_in
from examples.tracker.models import Member, User
from tenantkit import Tenant
from tenantkit.fastapi import CurrentTenant
from tenantkit.web import session_cookies

ACCOUNT_COOKIE = "account"
TENANT_COOKIE = "session"
LIFETIME = 7 * 24 * 3600
"""The lifetime of a login, in seconds."""


class Logins:
    """Writes and reads the signed cookies."""

    def __init__(self, settings: Settings) -> None:
        self._https = settings.https
        self._account = URLSafeTimedSerializer(settings.secret_key, salt="tracker.account")
        self._tenant = URLSafeTimedSerializer(settings.secret_key, salt="tracker.tenant")

    def start(self, response: Response, user: User, tenant: Tenant, *, path: str) -> None:
        """Log *user* into *tenant*, whose routes are below *path* on this host."""
        login: dict[str, Any] = {"user_id": user.id}
        session_cookies.bind(login, tenant)
        self._set(response, TENANT_COOKIE, self._tenant.dumps(login), path)

    def start_account(self, response: Response, user: User) -> None:
        """Log *user* in to the routes without a tenant."""
        self._set(response, ACCOUNT_COOKIE, self._account.dumps({"user_id": user.id}), "/")

    def user_at(self, tenant: Tenant, request: Request) -> int | None:
        """Return the user who is logged in to *tenant*."""
        login = _read(self._tenant, request.cookies.get(TENANT_COOKIE))
        return login["user_id"] if session_cookies.is_bound(login, tenant) else None

    def account(self, request: Request) -> int | None:
        """Return the user who is logged in to the routes without a tenant."""
        return _read(self._account, request.cookies.get(ACCOUNT_COOKIE)).get("user_id")

    def _set(self, response: Response, name: str, value: str, path: str) -> None:
        response.set_cookie(name, value, max_age=LIFETIME, path=path, secure=self._https, httponly=True, samesite="lax")


def _read(serializer: URLSafeTimedSerializer, cookie: str | None) -> dict[str, Any]:
    try:
        login: dict[str, Any] = serializer.loads(cookie or "", max_age=LIFETIME)
    except BadSignature:
        return {}
    return login


def path_here(request: Request) -> str:
    """Return the path prefix of the current tenant on this host."""
    root: str = request.scope.get("root_path", "")
    return root or "/"


def _logins(request: Request) -> Logins:
    logins: Logins = request.app.state.logins
    return logins


LoginsDep = Annotated[Logins, Depends(_logins)]


async def _member(request: Request, tenant: CurrentTenant, session: SessionDep, logins: LoginsDep) -> Member:
    user_id = logins.user_at(tenant, request)
    if user_id is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Log in to this tenant first.")
    if await session.run_sync(role_in, user_id, tenant) is None:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You are not a member of this tenant.")
    return await session.get_one(Member, user_id)


CurrentMember = Annotated[Member, Depends(_member)]
"""The user of the request, who must be a member of the current tenant."""

require_member = Depends(_member)
"""A dependency of routers for members only."""


async def _account_user(request: Request, session: SharedSessionDep, logins: LoginsDep) -> User:
    user_id = logins.account(request)
    user = None if user_id is None else await session.get(User, user_id)
    if user is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Log in first.")
    return user


AccountUser = Annotated[User, Depends(_account_user)]
"""The user of a request without a tenant."""


async def _refuse_other_origins(request: Request) -> None:
    origin = request.headers.get("origin")
    safe = request.method in {"GET", "HEAD", "OPTIONS"}
    if not safe and origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This request comes from another site.")


refuse_other_origins = Depends(_refuse_other_origins)
"""Protection against cross-site request forgery: a browser sends the site that makes the request.

``SameSite`` cookies alone are not sufficient: the hosts of two tenants can belong to the same site.
"""
