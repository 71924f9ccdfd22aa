"""Tenancies whose tables come from a migration environment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tenantkit import Tenancy
from tenantkit.migrations.executors import process
from tests.migrations.environments import Environment
from tests.support.commands import workers


@pytest.fixture(autouse=True)
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the worker processes that a run in this process starts."""
    monkeypatch.setattr(process, "subprocess", workers)


@pytest.fixture
def new_workers(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each of them in an interpreter of its own: for tests about their start, their end and what they inherit."""
    monkeypatch.setattr(process, "subprocess", subprocess)


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
