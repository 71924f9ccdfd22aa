"""Extensions of PostgreSQL in the database of a test."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def citext(engine: Engine) -> None:
    """The extension in ``public``, where tenants do not look."""
    execute(engine, "CREATE EXTENSION citext SCHEMA public")
