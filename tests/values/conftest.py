"""A tenant that is there already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL

from tenantkit import Tenancy
from tests.support.models import APPLICATION

ATTRIBUTES: dict[str, Any] = {"plan": "pro", "limits": {"seats": [1, {"extra": None}]}, "tags": ["a", "b"]}


@pytest.fixture(scope="session")
def filled_template(make_template: Callable[..., URL], application_template: str) -> str:
    """The database of the small application with the tenant acme."""
    url = make_template(application_template)
    with closing(Tenancy(url, listen=False, **APPLICATION)) as tenancy:
        tenancy.create("acme", domains=["acme.example.com"], attributes=ATTRIBUTES)
    return url.database or ""
