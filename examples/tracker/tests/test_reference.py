"""Reference data: complete, and repeatable."""

from __future__ import annotations

import pycountry
import pytest
from sqlalchemy import func, select

from examples.tracker.models import Country, Currency, Language, Plan
from examples.tracker.reference import PLANS, load_reference_data
from tenantkit import Tenancy

pytestmark = pytest.mark.all_cases


def test_all_codes_of_iso_are_loaded(tenancy: Tenancy) -> None:
    with tenancy.shared_session() as session:
        counts = [session.scalar(select(func.count()).select_from(model)) for model in (Country, Currency, Plan)]
        assert counts == [len(pycountry.countries), len(pycountry.currencies), len(PLANS)]
        germany = session.get_one(Country, "DE")
        assert (germany.alpha_3, germany.numeric, germany.name, germany.flag) == ("DEU", "276", "Germany", "🇩🇪")
        assert session.get_one(Currency, "CHF").name == "Swiss Franc"
        assert session.get_one(Language, "pt").name == "Portuguese"


def test_a_second_load_restores_changed_rows(tenancy: Tenancy) -> None:
    with tenancy.shared_session() as session:
        before = session.scalar(select(func.count()).select_from(Country))
        session.get_one(Country, "DE").name = "Germoney"
        session.commit()

        load_reference_data(session)
        session.commit()

        assert session.get_one(Country, "DE", populate_existing=True).name == "Germany"
        assert session.scalar(select(func.count()).select_from(Country)) == before
