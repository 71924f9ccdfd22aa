"""Alembic's operations on a database without tenantkit."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine


@contextmanager
def operating(engine: Engine) -> Generator[Any]:
    """Yield ``alembic.op`` as in a revision."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        with context.begin_transaction(), Operations.context(context) as op:
            yield op
