"""Sign-up, login and memberships."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import URL, func, select

from examples.tracker import boards
from examples.tracker.accounts import (
    SignUp,
    SignUpError,
    add_member,
    async_authenticate,
    authenticate,
    close_account,
    is_member,
    memberships_of,
    role_in,
    sign_up,
)
from examples.tracker.app import make_async_tenancy
from examples.tracker.models import Member, Membership, Role, User
from tenantkit import InvalidTenantKeyError, Tenancy, TenantExistsError

pytestmark = pytest.mark.all_cases

FORM = SignUp(
    email="Ada@Acme.example", name="Ada Berg", password="correct horse", tenant_key="acme", tenant_name="Acme Inc."
)


def count_users(tenancy: Tenancy) -> int:
    with tenancy.shared_session() as session:
        return session.scalar(select(func.count()).select_from(User)) or 0


def test_sign_up_creates_user_tenant_membership_and_a_first_project(tenancy: Tenancy) -> None:
    acme = sign_up(tenancy, FORM)

    assert (acme.key, acme.name, acme.attributes["plan"]) == ("acme", "Acme Inc.", "free")
    with tenancy.session(acme) as session:
        owner = session.scalars(select(Member)).one()
        assert (owner.user.email, owner.display_name) == ("ada@acme.example", "Ada Berg")
        assert role_in(session, owner.user_id, acme) is Role.OWNER
        project = boards.find_project(session, "START")
        assert project is not None
        assert [task.number for tasks in boards.board(session, project).values() for task in tasks] == [2, 3, 1]


def test_a_user_who_signs_up_again_gets_one_more_tenant(tenancy: Tenancy) -> None:
    acme, globex = sign_up(tenancy, FORM), sign_up(tenancy, replace(FORM, tenant_key="globex"))

    with tenancy.shared_session() as session:
        user = session.scalars(select(User)).one()
        assert [membership.tenant_key for membership in memberships_of(session, user.id)] == ["acme", "globex"]
        assert is_member(session, user.id, acme)
        assert is_member(session, user.id, globex)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"email": "ada"}, SignUpError),
        ({"password": "short"}, SignUpError),
        ({"tenant_key": "www"}, InvalidTenantKeyError),
        ({"tenant_key": "Robert'); DROP SCHEMA shared;--"}, InvalidTenantKeyError),
    ],
)
def test_a_refused_sign_up_creates_nothing(tenancy: Tenancy, change: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        sign_up(tenancy, replace(FORM, **change))

    assert tenancy.list() == []
    assert count_users(tenancy) == 0


def test_a_sign_up_with_a_wrong_password_does_not_use_the_account(tenancy: Tenancy) -> None:
    sign_up(tenancy, FORM)

    with pytest.raises(SignUpError, match="another password"):
        sign_up(tenancy, replace(FORM, tenant_key="globex", password="battery staple"))

    assert [tenant.key for tenant in tenancy.list()] == ["acme"]


def test_a_taken_key_creates_no_user(tenancy: Tenancy) -> None:
    sign_up(tenancy, FORM)

    with pytest.raises(TenantExistsError):
        sign_up(tenancy, replace(FORM, email="eve@evil.example"))

    assert count_users(tenancy) == 1


def test_only_the_right_password_logs_in(tenancy: Tenancy, tracker_url: URL) -> None:
    sign_up(tenancy, FORM)
    attempts = [
        ("ADA@acme.example", "correct horse"),
        ("ada@acme.example", "correct horse "),
        ("eve@acme.example", "correct horse"),
        ("eve@acme.example", "nobody's password"),
    ]

    with tenancy.shared_session() as session:
        assert [authenticate(session, *attempt) is not None for attempt in attempts] == [True, False, False, False]

    async def log_in() -> list[User | None]:
        async_tenancy = make_async_tenancy(tracker_url, listen=False)
        try:
            async with async_tenancy.shared_session() as session:
                return [await async_authenticate(session, *attempt) for attempt in attempts]
        finally:
            await async_tenancy.close()

    assert [user is not None for user in asyncio.run(log_in())] == [True, False, False, False]


def test_a_member_of_one_tenant_has_no_role_in_another(tenancy: Tenancy) -> None:
    acme, globex = sign_up(tenancy, FORM), tenancy.create("globex")

    with tenancy.shared_session() as session:
        user = session.scalars(select(User)).one()
        assert is_member(session, user.id, acme)
        assert not is_member(session, user.id, globex)

    with tenancy.session(globex) as session:
        add_member(session, session.get_one(User, user.id), job_title="Consultant")
        session.commit()
        assert role_in(session, user.id, globex) is Role.MEMBER


def test_a_new_tenant_with_an_old_key_has_none_of_the_old_members(tenancy: Tenancy) -> None:
    old = sign_up(tenancy, FORM)
    with tenancy.shared_session() as session:
        user_id = session.scalars(select(User.id)).one()
    tenancy.drop("acme")  # the membership remains

    new = tenancy.create("acme")

    with tenancy.shared_session() as session:
        assert is_member(session, user_id, old)
        assert not is_member(session, user_id, new)


def test_closing_an_account_removes_the_memberships_and_keeps_the_users(tenancy: Tenancy) -> None:
    sign_up(tenancy, FORM)
    sign_up(tenancy, replace(FORM, tenant_key="globex"))

    close_account(tenancy, "acme")

    assert [tenant.key for tenant in tenancy.list()] == ["globex"]
    assert count_users(tenancy) == 1
    with tenancy.shared_session() as session:
        assert session.scalars(select(Membership.tenant_key)).all() == ["globex"]
