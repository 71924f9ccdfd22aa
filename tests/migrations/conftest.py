"""Tenancies whose tables come from a migration environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tenantkit import Tenancy
from tests.migrations.environments import Environment


@pytest.fixture
def migrated_tenancy(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Callable[..., Tenancy]:
    """Make a tenancy whose tables come from the environment's revisions."""

    def make(**options: Any) -> Tenancy:
        return make_tenancy(migrations=environment.folder, **options)

    return make


@pytest.fixture
def metadata() -> sa.MetaData:
    """One tenant table."""
    metadata = sa.MetaData(schema="tenant")
    sa.Table("note", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return metadata


@pytest.fixture
def make(
    make_tenancy: Callable[..., Tenancy], environment: Environment, metadata: sa.MetaData
) -> Callable[[], Tenancy]:
    """Make a tenancy of that table, without shared ones."""
    return lambda: make_tenancy(tenant=metadata, shared=sa.MetaData(), migrations=environment.folder)
