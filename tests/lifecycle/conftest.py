"""A role of the application's own."""

from __future__ import annotations

from collections.abc import Generator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text


@pytest.fixture
def role(engine: Engine) -> Generator[str]:
    """A role without objects, and with privileges on the shared tables only."""
    name = f'app "{uuid4().hex[:8]}"'
    quoted = '"' + name.replace('"', '""') + '"'
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {quoted} LOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA shared TO {quoted}"))
    yield name
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}"))
