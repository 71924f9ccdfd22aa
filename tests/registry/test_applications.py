"""A registry belongs to one application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import URL, Engine, MetaData, create_engine, text

from tenantkit import ConfigurationError, Tenancy
from tests.support.catalog import schemas

USES: dict[str, Callable[[Any], object]] = {
    "get": lambda it: it.get("acme"),
    "get_by_domain": lambda it: it.get_by_domain("acme.test"),
    "list": lambda it: it.list(),
    "update": lambda it: it.update("acme", name="taken over"),
    "suspend": lambda it: it.suspend("acme"),
    "add_domain": lambda it: it.add_domain("acme", "b.test"),
    "create": lambda it: it.create("initech"),
    "drop": lambda it: it.drop("acme"),
    "diagnose": lambda it: it.diagnose(),
    "repair": lambda it: it.repair(),
    "install": lambda it: it.install(),
}

OTHERS: dict[str, dict[str, Any]] = {
    "prefix": {"schema_prefix": "hr_"},
    "placeholder": {"tenant": MetaData(schema="placeholder"), "placeholder": "placeholder"},
    "name": {"application": "hr"},
    "no name": {"application": None},
}


@pytest.mark.parametrize("use", USES)
def test_another_application_on_the_same_registry_is_refused(
    make_any_tenancy: Callable[..., Any], use: str, engine: Engine
) -> None:
    crm = make_any_tenancy(schema_prefix="crm_")
    before = crm.create("acme", domains=["acme.test"])
    hr = make_any_tenancy(schema_prefix="hr_")
    with pytest.raises(ConfigurationError, match="schema_prefix='crm_'.*this one has schema_prefix='hr_'"):
        USES[use](hr)
    assert crm.get("acme") == before
    assert [tenant.key for tenant in crm.list()] == ["acme"]
    assert "crm_acme" in schemas(engine)


@pytest.mark.parametrize("other", OTHERS)
def test_applications_differ_by_name_or_else_by_prefix_or_placeholder(
    make_tenancy: Callable[..., Tenancy], other: str
) -> None:
    first = {"application": "crm"} if "name" in other else {}
    make_tenancy(**first).create("acme")
    with pytest.raises(ConfigurationError, match="another application"):
        make_tenancy(**OTHERS[other]).list()


def test_applications_that_share_an_engine_are_distinguished(
    database: URL, make_tenancy: Callable[..., Tenancy]
) -> None:
    engine = create_engine(database)
    make_tenancy(database=engine, schema_prefix="crm_").create("acme")
    hr = make_tenancy(database=engine, schema_prefix="hr_")
    with pytest.raises(ConfigurationError, match="another application"):
        hr.get("acme")
    engine.dispose()


def test_an_application_may_get_a_name_and_then_another_prefix(make_tenancy: Callable[..., Tenancy]) -> None:
    make_tenancy().create("acme")
    make_tenancy(application="crm").install()
    crm = make_tenancy(application="crm", schema_prefix="crm_")
    assert [crm.create("globex").schema, crm.get("acme").schema] == ["crm_globex", "t_acme"]


def test_installing_gives_the_registry_to_the_application(
    empty_database: URL, make_tenancy: Callable[..., Tenancy]
) -> None:
    make_tenancy(database=empty_database, schema_prefix="crm_").install()
    with pytest.raises(ConfigurationError, match="another application"):
        make_tenancy(database=empty_database, schema_prefix="hr_").list()


def test_the_statement_in_the_error_transfers_the_registry(make_tenancy: Callable[..., Tenancy]) -> None:
    before = make_tenancy()
    before.create("acme")
    after = make_tenancy(schema_prefix="c_")
    with pytest.raises(ConfigurationError) as refused:
        after.list()
    with before.engine.begin() as connection:
        connection.execute(text(str(refused.value).partition("run: ")[2]))
    assert after.create("globex").schema == "c_globex"


@pytest.mark.parametrize("use", USES)
def test_an_empty_registry_table_is_refused_until_it_has_a_row(
    make_tenancy: Callable[..., Tenancy], engine: Engine, use: str
) -> None:
    before = make_tenancy(cache_ttl=0)
    before.create("acme", domains=["acme.test"])
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM tenantkit.registry"))
    for tenancy in (before, make_tenancy()):
        with pytest.raises(ConfigurationError, match="INSERT INTO tenantkit.registry DEFAULT VALUES"):
            USES[use](tenancy)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO tenantkit.registry DEFAULT VALUES"))
    assert make_tenancy().get("acme").key == "acme"


def test_a_refused_connection_is_returned_to_the_pool(make_any_tenancy: Callable[..., Any]) -> None:
    make_any_tenancy(schema_prefix="crm_").create("acme")
    hr = make_any_tenancy(schema_prefix="hr_")
    for _ in range(5):  # the pool has two connections
        with pytest.raises(ConfigurationError, match="another application"):
            hr.list()
