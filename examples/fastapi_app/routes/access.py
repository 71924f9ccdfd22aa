"""Login and logout of the tenant of the address."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response, status

from examples.fastapi_app.login import TENANT_COOKIE, CurrentMember, LoginsDep, path_here, refuse_other_origins
from examples.fastapi_app.schemas import Credentials, MemberOut, Problem
from examples.fastapi_app.sessions import SessionDep, SharedSessionDep
from examples.tracker.accounts import async_authenticate, is_member
from examples.tracker.models import Member
from tenantkit.fastapi import CurrentTenant

router = APIRouter(prefix="/api", tags=["log-in"], dependencies=[refuse_other_origins])


@router.post("/login", responses={401: {"model": Problem}})
async def login(
    credentials: Credentials,
    request: Request,
    response: Response,
    tenant: CurrentTenant,
    shared_session: SharedSessionDep,
    session: SessionDep,
    logins: LoginsDep,
) -> MemberOut:
    """Log in to this tenant. The cookie is valid for no other."""
    user = await async_authenticate(shared_session, credentials.email, credentials.password)
    if user is None or not await shared_session.run_sync(is_member, user.id, tenant):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Wrong e-mail address or password, or no member.")
    logins.start(response, user, tenant, path=path_here(request))
    return MemberOut.model_validate(await session.get_one(Member, user.id))


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(request: Request, response: Response) -> None:
    """Log out of this tenant; logins to others remain."""
    response.delete_cookie(TENANT_COOKIE, path=path_here(request), httponly=True, samesite="lax")


@router.get("/me", responses={401: {"model": Problem}, 403: {"model": Problem}})
async def me(member: CurrentMember) -> MemberOut:
    """Return the user who is logged in to this tenant."""
    return MemberOut.model_validate(member)
