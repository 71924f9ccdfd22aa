"""Sample data: realistic in size, the same each time, and different for every company."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from examples.tracker import contents, sample
from examples.tracker.contents import Contents
from examples.tracker.models import Activity, Member, TenantBase, User
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases

ACME, GLOBEX, *_ = sample.COMPANIES
FILLED = {table.name for table in TenantBase.metadata.sorted_tables}


def load(tenancy: Tenancy, company: sample.Company) -> Contents:
    tenancy.create(company.key)
    with tenancy.session(company.key) as session:
        written = sample.load(session, company, password_hash="-")
        session.commit()
        return written


def test_there_are_25_companies_with_valid_and_different_keys(tenancy: Tenancy) -> None:
    assert len({company.key for company in sample.COMPANIES}) == 29
    assert len({company.name for company in sample.COMPANIES}) == 29


def test_read_data_equals_written_data(tenancy: Tenancy) -> None:
    written = {company.key: load(tenancy, company) for company in (ACME, GLOBEX)}

    for key, expected in written.items():
        with tenancy.session(key) as session:
            assert contents.read(session) == expected
    assert written["acme"].digest != written["globex"].digest


def test_every_table_has_rows_and_together_they_are_hundreds(tenancy: Tenancy) -> None:
    load(tenancy, ACME)

    with tenancy.session("acme") as session:
        empty = {
            table.name
            for table in TenantBase.metadata.sorted_tables
            if not session.scalar(select(func.count()).select_from(table))
        }
        assert empty == set()
        assert contents.count_rows(session) > 300
        assert session.scalar(select(func.count(Activity.id))) == contents.read(session).tasks


def test_loading_it_again_gives_the_same(tenancy: Tenancy) -> None:
    first = load(tenancy, ACME)
    tenancy.drop("acme")

    assert load(tenancy, ACME) == first
    with tenancy.session("acme") as session:
        people = session.scalars(select(Member).order_by(Member.user_id)).all()
        assert len(people) == 5
        assert all(member.user.email.endswith("@acme.example") for member in people)
        assert session.scalar(select(func.count()).select_from(User)) == 5
