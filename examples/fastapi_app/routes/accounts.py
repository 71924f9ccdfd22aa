"""Endpoints without a tenant: sign-up, and the list of a user's tenants."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException, Response, status

from examples.fastapi_app.login import ACCOUNT_COOKIE, AccountUser, LoginsDep, refuse_other_origins
from examples.fastapi_app.places import PlacesDep
from examples.fastapi_app.schemas import Account, Credentials, Here, NewTenant, Problem, TenantMembership, TenantPlace
from examples.fastapi_app.sessions import OperatorDep, SharedSessionDep, TenancyDep
from examples.tracker.accounts import SignUp, SignUpError, async_authenticate, is_member, memberships_of, sign_up
from examples.tracker.models import User
from tenantkit import InvalidTenantKeyError, TenantExistsError, TenantNotFoundError
from tenantkit.context import current_tenant_or_none
from tenantkit.fastapi import refuse_unserved, shared

router = APIRouter(prefix="/api", tags=["accounts"], dependencies=[shared, refuse_unserved, refuse_other_origins])


@router.get("/here")
async def here(places: PlacesDep) -> Here:
    """Return the tenant of this address."""
    tenant = current_tenant_or_none()
    return Here(tenant=None if tenant is None else places.of(tenant))


@router.post(
    "/sign-up",
    status_code=status.HTTP_201_CREATED,
    responses={400: {"model": Problem}, 409: {"model": Problem, "description": "The key is taken"}},
)
async def join(
    form: NewTenant,
    response: Response,
    operator: OperatorDep,
    session: SharedSessionDep,
    logins: LoginsDep,
    places: PlacesDep,
) -> TenantPlace:
    """Create a tenant, and log in to it: the cookie is for its path."""
    try:
        tenant = await asyncio.to_thread(sign_up, operator, SignUp(**form.model_dump()))
    except (SignUpError, InvalidTenantKeyError) as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, str(error)) from error
    except TenantExistsError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, "This key is taken. Please choose another.") from error
    owner = await async_authenticate(session, form.email, form.password)
    if owner is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Your password was changed meanwhile. Log in.")
    logins.start(response, owner, tenant, path=places.path(tenant))
    place = places.of(tenant)
    response.headers["location"] = place.path
    return place


@router.post("/account/login", responses={401: {"model": Problem}})
async def login(
    credentials: Credentials,
    response: Response,
    tenancy: TenancyDep,
    session: SharedSessionDep,
    logins: LoginsDep,
    places: PlacesDep,
) -> Account:
    """Log in without a tenant, to see the list of one's tenants."""
    user = await async_authenticate(session, credentials.email, credentials.password)
    if user is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Wrong e-mail address or password.")
    logins.start_account(response, user)
    return await _account(user, tenancy, session, places)


@router.get("/account", responses={401: {"model": Problem}})
async def account(user: AccountUser, tenancy: TenancyDep, session: SharedSessionDep, places: PlacesDep) -> Account:
    """Return the user who is logged in, and the user's tenants."""
    return await _account(user, tenancy, session, places)


@router.post("/account/tenants/{key}", responses={401: {"model": Problem}, 404: {"model": Problem}})
async def open_tenant(
    key: str,
    user: AccountUser,
    response: Response,
    tenancy: TenancyDep,
    session: SharedSessionDep,
    logins: LoginsDep,
    places: PlacesDep,
) -> TenantPlace:
    """Log in to one of the user's tenants: the cookie is for its path."""
    try:
        tenant = await tenancy.get(key)
    except TenantNotFoundError:
        tenant = None
    if tenant is None or not await session.run_sync(is_member, user.id, tenant):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "You have no such tenant.")
    logins.start(response, user, tenant, path=places.path(tenant))
    return places.of(tenant)


@router.post("/account/logout", status_code=status.HTTP_204_NO_CONTENT)
async def logout(response: Response) -> None:
    """Log out without a tenant; logins to tenants remain."""
    response.delete_cookie(ACCOUNT_COOKIE, path="/", httponly=True, samesite="lax")


async def _account(user: User, tenancy: TenancyDep, session: SharedSessionDep, places: PlacesDep) -> Account:
    """Return a user's tenants, without dropped ones, even if another tenant has the key now."""
    tenants = []
    for membership in await session.run_sync(memberships_of, user.id):
        try:
            tenant = await tenancy.get(membership.tenant_key)
        except TenantNotFoundError:
            continue
        if tenant.id == membership.tenant_id:
            place = places.of(tenant)
            tenants.append(TenantMembership(**dict(place), role=membership.role, status=tenant.status))
    return Account(name=user.name, email=user.email, tenants=tenants)
