"""Reference data for the shared tables: ISO countries, currencies and languages, and the plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pycountry
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from examples.tracker.models.shared import Country, Currency, Language, Plan, SharedBase

PLANS: list[dict[str, Any]] = [
    {"key": "free", "name": "Free", "seats": 3, "monthly_price": 0, "currency_code": "EUR"},
    {"key": "team", "name": "Team", "seats": 25, "monthly_price": 4900, "currency_code": "EUR"},
    {"key": "business", "name": "Business", "seats": None, "monthly_price": 19900, "currency_code": "EUR"},
]


def load_reference_data(session: Session) -> int:
    """Insert or update the reference data, in the caller's transaction, and return the number of rows.

    It can run at every deployment: existing rows get the values of a newer pycountry.
    """
    rows: list[tuple[type[SharedBase], Sequence[dict[str, Any]]]] = [
        (Country, [_country(country) for country in pycountry.countries]),
        (Currency, [_currency(currency) for currency in pycountry.currencies]),
        (Language, [_language(language) for language in pycountry.languages if hasattr(language, "alpha_2")]),
        (Plan, PLANS),
    ]
    for model, values in rows:
        _upsert(session, model, values)
    return sum(len(values) for _, values in rows)


def _upsert(session: Session, model: type[SharedBase], values: Sequence[dict[str, Any]]) -> None:
    statement = insert(model)
    key = [column.name for column in model.__table__.primary_key]
    changes = {name: statement.excluded[name] for name in values[0] if name not in key}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=changes), values)


def _country(country: Any) -> dict[str, Any]:
    return {
        "code": country.alpha_2,
        "alpha_3": country.alpha_3,
        "numeric": country.numeric,
        "name": getattr(country, "common_name", country.name),
        "flag": country.flag,
    }


def _currency(currency: Any) -> dict[str, Any]:
    return {"code": currency.alpha_3, "numeric": currency.numeric, "name": currency.name}


def _language(language: Any) -> dict[str, Any]:
    return {"code": language.alpha_2, "alpha_3": language.alpha_3, "name": language.name}
