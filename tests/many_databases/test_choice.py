"""The choice of a new tenant's database: by policies, and by the caller."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import ConfigurationError, Placement, ProvisioningError, Tenancy, TenantUnavailableError
from tenantkit.asyncio import AsyncTenancy
from tenantkit.placement import DatabaseLoad, NewTenant, PlacementPolicy, by_attribute, fill_first
from tests.isolation.two_databases import APPLICATION, EU, make_sync
from tests.support.catalog import schemas

pytestmark = pytest.mark.each_value

NOBODY = "postgresql+psycopg://nobody@127.0.0.1:1"


@pytest.mark.parametrize("make", [Tenancy, AsyncTenancy])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no 'main'"),
        ({"eu": f"{NOBODY}/eu"}, "no 'main'"),
        ({"main": f"{NOBODY}/a", "eu": f"{NOBODY}/a"}, "'main' and 'eu' are the same"),
        ({"main": f"{NOBODY}/a", "eu": f"{NOBODY}/a?sslmode=disable"}, "'main' and 'eu' are the same"),
        ({"main": f"{NOBODY}/a", "eu": "mysql://nobody/x"}, "The database 'eu': tenantkit needs PostgreSQL"),
        ({"main": f"{NOBODY}/a", "eu": None}, "The database 'eu': .*environment variable"),
        ({"main": f"{NOBODY}/a", " ": f"{NOBODY}/b"}, "not blank"),
        ({"main": f"{NOBODY}/a", 5: f"{NOBODY}/b"}, "collection of strings"),
    ],
)
def test_databases_that_cannot_be_meant_are_refused(make: Any, given: dict[Any, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said):
        make(given, **APPLICATION)


def test_a_password_is_in_no_message() -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/a"
    with pytest.raises(ConfigurationError) as refused:
        Tenancy({"main": url, "eu": url}, **APPLICATION)
    assert "secret" not in str(refused.value)


def test_an_async_tenancy_needs_the_same_databases_for_both_of_its_halves() -> None:
    with pytest.raises(ConfigurationError, match="'eu' is in one of database= and sync_database= only"):
        AsyncTenancy({"main": f"{NOBODY}/a", "eu": f"{NOBODY}/b"}, sync_database=f"{NOBODY}/a", **APPLICATION)


LOADS = {"main": DatabaseLoad(0), "one": DatabaseLoad(2), "two": DatabaseLoad(1)}


@pytest.mark.parametrize(
    ("policy", "attributes", "chosen"),
    [
        (fill_first(3), {}, "one"),
        (fill_first(2), {}, "two"),
        (fill_first(2, databases=["main", "one"]), {}, "main"),
        (by_attribute("region", {"eu": "one"}), {"region": "eu"}, "one"),
        (by_attribute("region", {"eu": "one"}, otherwise="two"), {}, "two"),
        (by_attribute("seats", {5: fill_first(2)}, otherwise="main"), {"seats": 5}, "two"),
        (by_attribute("region", {"eu": "one"}, otherwise=fill_first(1)), {"region": ["eu"]}, "main"),
    ],
)
def test_policies_choose_by_load_and_by_attribute(
    policy: PlacementPolicy, attributes: dict[str, Any], chosen: str
) -> None:
    assert policy(NewTenant(key="acme", attributes=attributes), LOADS) == chosen


def test_a_database_is_filled_before_the_next_one(urls: tuple[URL, URL]) -> None:
    with closing(make_sync(*urls, placement=fill_first(2))) as tenancy:
        tenancy.install()
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(tenancy.create, ["a", "b", "c", "d"]))
        assert sorted(tenant.placement.database for tenant in made) == ["eu", "eu", "main", "main"]
        with pytest.raises(ProvisioningError, match=r"Every database has its 2 tenants.*Add a database"):
            tenancy.create("e")
        assert tenancy.create("e", database="eu").placement == Placement("eu", "t_e")


def _exit(*_: Any) -> str:
    raise SystemExit("no")


async def _later(*_: Any) -> str:
    return "eu"


@pytest.mark.some_values(policy=5)
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: "asia", "placement= returned 'asia', which is no database"),
        (lambda *_: None, "placement= returned None"),
        (lambda *_: ["eu"], "unhashable|no database"),
        (lambda *_: _later(), "placement= returned an awaitable"),
        (_exit, "SystemExit"),
        (fill_first(1, databases=["asia"]), "there is none"),
        (by_attribute("region", {"eu": "eu"}), "The attribute 'region' is None"),
        (by_attribute("region", {}, otherwise="asia"), "'asia', which is no database"),
    ],
)
def test_a_policy_that_does_not_choose_leaves_nothing_behind(
    urls: tuple[URL, URL], main: Engine, eu: Engine, policy: Callable[..., Any], said: str
) -> None:
    with closing(make_sync(*urls, placement=policy)) as tenancy:
        tenancy.install()
        before = schemas(main), schemas(eu)
        with pytest.raises(ProvisioningError, match=said) as refused:
            tenancy.create("acme")
        assert refused.value.step == "choosing its database"
        assert (tenancy.list(), schemas(main), schemas(eu)) == ([], *before)
        assert tenancy.create("acme", database="main").status == "active"


def test_the_caller_names_a_database_that_is_there(any_tenancy: Any) -> None:
    assert any_tenancy.create("cleo", database="eu").placement == Placement("eu", "t_cleo")
    assert any_tenancy.create("dora", attributes=EU, database="main").placement == Placement("main", "t_dora")
    with pytest.raises(ConfigurationError, match=r"database= 'asia', which is no database.*'main', 'eu'"):
        any_tenancy.create("emma", database="asia")


def test_a_database_that_is_down_is_named_and_gets_no_tenant(urls: tuple[URL, URL], main: Engine) -> None:
    with closing(make_sync(urls[0], urls[1].set(port=1))) as tenancy:
        with main.begin() as connection:
            from tenantkit.registry import versions

            versions.install(connection)
        for attempt in ({"database": "eu"}, {"attributes": EU}):
            with pytest.raises(ProvisioningError, match="the database 'eu' cannot be reached"):
                tenancy.create("berta", **attempt)
        assert tenancy.list() == []
        assert tenancy.create("berta").placement.database == "main"


def test_an_unfinished_creation_is_finished_in_its_own_database(tenancy: Tenancy, eu: Engine) -> None:
    def fail(_session: object) -> None:
        raise ValueError("no")

    with pytest.raises(ProvisioningError, match="seeding"):
        tenancy.create("berta", attributes=EU, seed=fail)
    with pytest.raises(ProvisioningError, match="has begun in the database 'eu'"):
        tenancy.create("berta", database="main")
    assert tenancy.create("berta").placement.database == "eu"
    assert "t_berta" in schemas(eu)


def test_a_tenant_of_a_database_that_is_not_named_is_refused(pair: Tenancy, urls: tuple[URL, URL]) -> None:
    with closing(Tenancy(urls[0], **APPLICATION)) as alone:
        with alone.session("acme") as session:
            assert session.tenant.key == "acme"
        with pytest.raises(TenantUnavailableError, match=r"its database 'eu' is not one of this tenancy's: name it"):
            alone.session("berta")
