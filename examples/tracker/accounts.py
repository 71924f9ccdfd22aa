"""Users and their tenants: sign-up, login, memberships.

The functions are synchronous. An asynchronous application runs those that take a session by
``await session.run_sync(memberships_of, user_id)``, and `sign_up` by
``await asyncio.to_thread(sign_up, operator, form)``; the login has `async_authenticate`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.tracker import boards
from examples.tracker.models import Member, Membership, Role, TaskStatus, User
from tenantkit import Tenancy, Tenant, TenantSession

SHORTEST_PASSWORD = 10

_hasher = PasswordHasher()


class SignUpError(ValueError):
    """The input is refused; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    """The input of a sign-up."""

    email: str
    name: str
    password: str
    tenant_key: str
    tenant_name: str
    plan: str = "free"


def sign_up(tenancy: Tenancy, form: SignUp) -> Tenant:
    """Create a tenant whose owner is the user who signs up, and return it.

        The user, the membership and a first project are committed together with the tenant. A user who has an account
    already enters its password, and gets one more tenant.

        :raises SignUpError: if the e-mail address, a name or the password is refused.
        :raises InvalidTenantKeyError: if the tenant's key breaks the rules.
        :raises TenantExistsError: if the tenant's key is taken.
    """
    email = _fold(form.email)
    if "@" not in email:
        raise SignUpError("Please enter your e-mail address.")
    if "\0" in form.name + form.tenant_name:
        raise SignUpError("Please enter names without control characters.")
    if len(form.password) < SHORTEST_PASSWORD:
        raise SignUpError(f"Please choose a password of {SHORTEST_PASSWORD} or more characters.")
    with tenancy.shared_session() as session:
        known = find_user(session, email)
        if known is not None and not _password_matches(known, form.password):
            raise SignUpError("This e-mail address has an account already, with another password.")
    password_hash = hash_password(form.password)

    def seed(session: TenantSession) -> None:
        owner = find_user(session, email) or User(email=email, name=form.name, password_hash=password_hash)
        _welcome(session, add_member(session, owner, Role.OWNER))

    return tenancy.create(form.tenant_key, name=form.tenant_name, attributes={"plan": form.plan}, seed=seed)


def close_account(tenancy: Tenancy, key: str) -> None:
    """Remove a tenant with all of its data, and its memberships; the users stay.

    :raises TenantNotFoundError: if there is no such tenant.
    """
    tenant = tenancy.drop(key)
    with tenancy.shared_session() as session:
        session.execute(delete(Membership).where(Membership.tenant_id == tenant.id))
        session.commit()


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the user, if the password is correct."""
    user = find_user(session, email)
    return user if _password_matches(user, password) else None


async def async_authenticate(session: AsyncSession, email: str, password: str) -> User | None:
    """Return the user, if the password is correct; the slow hash is computed in a thread."""
    user = await session.run_sync(find_user, email)
    return user if await asyncio.to_thread(_password_matches, user, password) else None


def find_user(session: Session, email: str) -> User | None:
    """Return the user with this e-mail address, in upper or lower case."""
    return session.scalars(select(User).where(User.email == _fold(email))).one_or_none()


def memberships_of(session: Session, user_id: int) -> Sequence[Membership]:
    """Return a user's memberships in the order of the tenants' keys."""
    return session.scalars(
        select(Membership).where(Membership.user_id == user_id).order_by(Membership.tenant_key)
    ).all()


def role_in(session: Session, user_id: int, tenant: Tenant) -> Role | None:
    """Return a user's role in *tenant*, or ``None`` without a membership."""
    membership = session.get(Membership, (user_id, tenant.id))
    return None if membership is None else membership.role


def is_member(session: Session, user_id: int, tenant: Tenant) -> bool:
    """Return whether a user may enter *tenant*."""
    return role_in(session, user_id, tenant) is not None


def add_member(session: TenantSession, user: User, role: Role = Role.MEMBER, *, job_title: str | None = None) -> Member:
    """Make a user a member of the session's tenant, and return the tenant's row for the user.

    A former member gets the same row again, with its tasks and comments.
    """
    user.memberships.append(Membership(tenant_id=session.tenant.id, tenant_key=session.tenant.key, role=role))
    session.add(user)
    session.flush()
    member = session.get(Member, user.id) or Member(user=user, display_name=user.name, job_title=job_title)
    session.add(member)
    session.flush()
    return member


def hash_password(password: str) -> str:
    """Return the hash of a password."""
    return _hasher.hash(password)


def _password_matches(user: User | None, password: str) -> bool:
    # Without a user, a hash is checked too, so that the time does not reveal which addresses have accounts.
    try:
        _hasher.verify(_nobodys_hash() if user is None else user.password_hash, password)
    except VerifyMismatchError:
        return False
    return user is not None


@cache
def _nobodys_hash() -> str:
    return hash_password("nobody's password")


def _fold(email: str) -> str:
    return email.strip().lower()


def _welcome(session: Session, owner: Member) -> None:
    project = boards.create_project(
        session, key="START", name="First steps", lead=owner, description="A sample project."
    )
    for title, status in (
        ("Create your account", TaskStatus.DONE),
        ("Move this task to another column", TaskStatus.TODO),
        ("Create a project of your own", TaskStatus.TODO),
    ):
        boards.create_task(session, project, title=title, reporter=owner, assignee=owner, status=status)
