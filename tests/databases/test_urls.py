"""Database URLs, and the errors for missing drivers."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, MetaData, make_url

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy


@pytest.mark.parametrize("scheme", ["postgres", "postgres+psycopg"])
def test_the_short_scheme_of_hosting_services_is_accepted(database: URL, scheme: str) -> None:
    url = database.set(drivername=scheme).render_as_string(hide_password=False)
    assert url.startswith("postgres")
    with closing(Tenancy(url, listen=False, tenant=MetaData(schema="tenant"))) as tenancy:
        assert tenancy.list() == []
        assert tenancy.engine.url.drivername.startswith("postgresql")


@pytest.mark.parametrize("scheme", ["postgres", "postgres+psycopg", "postgres+asyncpg"])
def test_the_short_scheme_works_with_asyncio(database: URL, portal: BlockingPortal, scheme: str) -> None:
    tenancy = AsyncTenancy(database.set(drivername=scheme), listen=False, tenant=MetaData(schema="tenant"))
    assert portal.call(tenancy.list) == []
    portal.call(tenancy.close)


@pytest.mark.parametrize("url", ["postgresql://u:sec@ret@db/app", "postgres://u:@secret@db:5432/app?sslmode=disable"])
@pytest.mark.parametrize("make", [Tenancy, AsyncTenancy])
def test_a_password_with_an_at_sign_is_never_taken_for_a_host(make: Any, url: str) -> None:
    for given in (url, make_url(url)):
        with pytest.raises(ConfigurationError, match="%40") as refused:
            make(given, tenant=MetaData(schema="tenant"))
        assert not any(piece in str(refused.value) for piece in ("sec", "ret", "app"))


@pytest.mark.parametrize(
    ("use", "hint"),
    [
        ("import tenantkit.embedded", "tenantkit[binary]"),
        ("from tenantkit import Tenancy as make; make('postgresql://', tenant=m)", "tenantkit[binary]"),
        ("from tenantkit.asyncio import AsyncTenancy as make; make('postgresql://', tenant=m)", "tenantkit[binary]"),
        (
            "from tenantkit.asyncio import AsyncTenancy as make; make('postgresql+asyncpg://', tenant=m)",
            "tenantkit[asyncpg]",
        ),
    ],
)
def test_a_driver_that_cannot_be_imported_is_named_with_the_command_that_installs_it(use: str, hint: str) -> None:
    program = (
        f"import sys; sys.modules['asyncpg'] = None; import sqlalchemy as sa; m = sa.MetaData(schema='tenant'); {use}"
    )
    # An implementation that is not installed raises the same error as a missing libpq.
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PSYCOPG_IMPL": "c"}, stderr=subprocess.PIPE, check=False
    )
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("tenantkit.exceptions.ConfigurationError: The database driver cannot be imported: ")
    assert f"pip install '{hint}'" in last
