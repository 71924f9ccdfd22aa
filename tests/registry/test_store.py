"""The registry: stored values, refused values, and searches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from tenantkit import (
    ConfigurationError,
    DomainExistsError,
    IllegalTransitionError,
    InvalidDomainError,
    InvalidTenantKeyError,
    Status,
    Tenancy,
    Tenant,
    TenantExistsError,
    TenantNotFoundError,
)
from tenantkit.naming import MAX_KEY_BYTES, schema_name, validate_domain, validate_key
from tenantkit.status import COMPLETE
from tests.support.catalog import registered, schemas, set_status

HOSTILE_KEYS: dict[str, Any] = {
    "empty": "",
    "quote": "a'b",
    "double quote": 'a"b',
    "SQL": "a; DROP SCHEMA shared CASCADE; --",
    "closing a literal": "a') --",
    "upper case": "Acme",
    "look-alike": "аcme",
    "accent": "café",
    "full width": "ａcme",
    "dotless": "ıstanbul",
    "digit first": "1acme",
    "hyphen first": "-acme",
    "space": "a b",
    "trailing newline": "acme\n",
    "NUL": "ac\0me",
    "dot": "a.b",
    "percent": "a%s",
    "colon": "a:b",
    "brackets": "__[SCHEMA_tenant]",
    "49 bytes": "a" * 49,
    "64 bytes": "a" * 64,
    "pg_": "pg_acme",
    "public": "public",
    "information_schema": "information_schema",
    "tenantkit": "tenantkit",
    "surrogate": "acme\udc80",
    "not a string": 7,
}
HOSTILE_DOMAINS = [
    "",
    "a b",
    "https://acme.example.com",
    "acme.example.com/path",
    "acme.example.com:80",
    "a..b",
    "-a.b",
    "a-.b",
    "x" * 64 + ".com",
    ".".join(["abc"] * 64),
    "münchen.de",
    "a\0b",
    "'; --",
    "a_b.com",
    "acme\n",
]


def test_a_hostile_key_is_refused_and_nothing_is_written(any_tenancy: Any, engine: Engine) -> None:
    before = schemas(engine)
    for name, key in HOSTILE_KEYS.items():
        with pytest.raises(InvalidTenantKeyError) as refused:
            any_tenancy.create(key)
        assert refused.value.key == key, name
        assert (registered(engine), schemas(engine)) == ({}, before), name
        for use in (any_tenancy.get, any_tenancy.suspend, any_tenancy.drop, any_tenancy.update):
            with pytest.raises(TenantNotFoundError if isinstance(key, str) else TypeError):
                use(key)


@given(st.text())
def test_a_key_is_valid_unchanged_or_refused(key: str) -> None:
    try:
        assert validate_key(key) is key
    except InvalidTenantKeyError:
        return
    assert key.isascii()
    assert key == key.lower()
    assert 1 <= len(key.encode()) <= MAX_KEY_BYTES
    assert len(schema_name(key).encode()) <= 63


@given(st.from_regex(r"[a-z][a-z0-9_-]{0,47}", fullmatch=True))
def test_every_key_within_the_rules_is_valid_unless_reserved(key: str) -> None:
    if key.startswith("pg_") or key in {"public", "information_schema", "tenantkit"}:
        with pytest.raises(InvalidTenantKeyError, match="reserved"):
            validate_key(key)
    else:
        assert validate_key(key) == key


@given(st.text())
def test_a_domain_is_stored_in_one_spelling(domain: str) -> None:
    try:
        stored = validate_domain(domain)
    except InvalidDomainError:
        return
    assert validate_domain(stored) == stored
    assert validate_domain(stored.upper() + ".") == stored
    assert len(stored) <= 253


def test_unusual_valid_keys_work(any_tenancy: Any, engine: Engine) -> None:
    keys = ["a", "a-b", "a_b", "select", "user", "t_t-", "z" * 48]
    for key in keys:
        any_tenancy.create(key, name="Ünïcode 'n' \"quotes\"", attributes={"a'b": 'c"d', "%s": ":x"})
        with any_tenancy.session(key) as session:
            session.execute(text("INSERT INTO project (name) VALUES (:key)"), {"key": key})
            session.commit()
            assert session.scalars(text("SELECT name FROM project")).all() == [key]
    assert set(registered(engine)) == set(keys)
    for key in keys:
        any_tenancy.drop(key)
    assert schemas(engine) == {"public", "shared", "tenantkit"}


def test_reserved_keys_of_the_application_are_refused(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    with pytest.raises(InvalidTenantKeyError, match="reserved"):
        make_tenancy(reserved_keys={"www"}).create("www")
    assert registered(engine) == {}


def test_values_are_read_as_they_were_written(any_tenancy: Any) -> None:
    made = any_tenancy.create(
        "acme",
        name="Acme Ltd.",
        domains=["Acme.Example.com.", "acme.test"],
        attributes={"plan": "gold", "seats": [1, {"a": None}]},
    )
    assert any_tenancy.get("acme") == made
    assert (made.key, made.name, made.status, made.schema) == ("acme", "Acme Ltd.", Status.ACTIVE, "t_acme")
    assert made.domains == ("acme.example.com", "acme.test")
    assert made.primary_domain == "acme.example.com"
    assert made.attributes == {"plan": "gold", "seats": [1, {"a": None}]}
    assert made.created_at <= made.updated_at
    assert any_tenancy.create("plain").name == "plain"
    assert any_tenancy.get("plain").primary_domain is None


def test_a_key_is_taken_once(any_tenancy: Any, engine: Engine) -> None:
    made = any_tenancy.create("acme", attributes={"plan": "gold"})
    with pytest.raises(TenantExistsError) as refused:
        any_tenancy.create("acme", name="Another", domains=["new.test"])
    assert refused.value.key == "acme"
    assert any_tenancy.get("acme") == made
    with pytest.raises(TenantNotFoundError):
        any_tenancy.get_by_domain("new.test")


def test_a_key_that_is_created_again_is_a_new_tenant(any_tenancy: Any) -> None:
    first = any_tenancy.create("acme", domains=["acme.test"])
    assert any_tenancy.drop("acme").id == first.id
    second = any_tenancy.create("acme")
    assert second.id > first.id
    assert second.domains == ()


def test_update_sets_the_name_and_merges_attributes(any_tenancy: Any) -> None:
    made = any_tenancy.create("acme", attributes={"plan": "gold", "seats": 3})
    changed = any_tenancy.update("acme", name="Acme", attributes={"seats": 4, "plan": None, "new": {"a": 1}})
    assert (changed.name, changed.attributes) == ("Acme", {"seats": 4, "new": {"a": 1}})
    assert changed.updated_at > made.updated_at
    assert any_tenancy.update("acme", attributes={"seats": None, "nothing": None}).attributes == {"new": {"a": 1}}
    assert any_tenancy.update("acme").name == "Acme"
    assert any_tenancy.get("acme").attributes == {"new": {"a": 1}}
    with pytest.raises(TenantNotFoundError):
        any_tenancy.update("nobody", name="x")


def test_domains_lead_to_their_tenant_in_any_spelling(any_tenancy: Any) -> None:
    any_tenancy.create("acme", domains=["acme.test"])
    for spelling in ("acme.test", "ACME.test", "acme.test."):
        assert any_tenancy.get_by_domain(spelling).key == "acme"
    for unknown in ("other.test", *HOSTILE_DOMAINS):
        with pytest.raises(TenantNotFoundError) as missing:
            any_tenancy.get_by_domain(unknown)
        assert missing.value.domain == unknown


def test_one_domain_is_the_primary_one(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    assert any_tenancy.add_domain("acme", "b.test").domains == ("b.test",)
    assert any_tenancy.add_domain("acme", "a.test").domains == ("b.test", "a.test")
    assert any_tenancy.add_domain("acme", "C.test", primary=True).domains == ("c.test", "a.test", "b.test")
    assert any_tenancy.set_primary_domain("acme", "B.test").domains == ("b.test", "a.test", "c.test")
    assert any_tenancy.set_primary_domain("acme", "b.test").primary_domain == "b.test"
    assert any_tenancy.remove_domain("acme", "b.test").domains == ("a.test", "c.test")
    assert any_tenancy.remove_domain("acme", "c.test").domains == ("a.test",)
    assert any_tenancy.remove_domain("acme", "a.test").domains == ()


def test_a_domain_belongs_to_one_tenant(any_tenancy: Any, engine: Engine) -> None:
    any_tenancy.create("acme", domains=["acme.test"])
    beta = any_tenancy.create("beta")
    with pytest.raises(DomainExistsError) as taken:
        any_tenancy.add_domain("beta", "ACME.test")
    assert taken.value.domain == "acme.test"
    for change in (any_tenancy.remove_domain, any_tenancy.set_primary_domain):
        with pytest.raises(TenantNotFoundError):
            change("beta", "acme.test")
    with pytest.raises(DomainExistsError):
        any_tenancy.create("gamma", domains=["gamma.test", "acme.test"])
    with pytest.raises(ConfigurationError, match=r"'gamma\.test' twice"):
        any_tenancy.create("gamma", domains=["gamma.test", "Gamma.test"])
    assert any_tenancy.get("beta") == beta
    assert registered(engine) == {"acme": "active", "beta": "active"}
    assert "t_gamma" not in schemas(engine)


def test_a_hostile_domain_is_refused_and_nothing_is_written(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    for domain in HOSTILE_DOMAINS:
        with pytest.raises(InvalidDomainError):
            tenancy.add_domain("acme", domain)
        with pytest.raises(InvalidDomainError):
            tenancy.create("beta", domains=[domain])
        assert registered(engine) == {"acme": "active"}, domain
        assert tenancy.get("acme").domains == (), domain


def test_an_internationalized_domain_is_refused_with_the_form_to_write(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    with pytest.raises(InvalidDomainError, match="ASCII form"):
        tenancy.add_domain("acme", "b\u00fccher.example")
    tenancy.add_domain("acme", "b\u00fccher.example".encode("idna").decode())


def test_of_domains_that_are_added_concurrently_one_is_primary(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(engine_options={"pool_size": 4})
    tenancy.create("acme")
    barrier = Barrier(4)

    def add(number: int) -> None:
        barrier.wait()
        tenancy.add_domain("acme", f"d{number}.test")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert sorted(tenancy.get("acme").domains) == [f"d{number}.test" for number in range(4)]


LEGAL = {
    (Status.PROVISIONING, Status.ACTIVE),
    (Status.ACTIVE, Status.SUSPENDED),
    (Status.ACTIVE, Status.MAINTENANCE),
    (Status.SUSPENDED, Status.ACTIVE),
    (Status.MAINTENANCE, Status.ACTIVE),
    (Status.ACTIVE, Status.READ_ONLY),
    *((Status.READ_ONLY, status) for status in (Status.ACTIVE, Status.SUSPENDED, Status.MAINTENANCE)),
    (Status.SUSPENDED, Status.READ_ONLY),
    *((status, status) for status in COMPLETE),  # exists already
}


def test_only_legal_transitions_happen(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    moves: dict[Status, Callable[[str], Tenant]] = {
        Status.ACTIVE: tenancy.resume,
        Status.SUSPENDED: tenancy.suspend,
        Status.READ_ONLY: partial(tenancy.suspend, read_only=True),
        Status.MAINTENANCE: tenancy.start_maintenance,
    }
    for status, (wanted, move) in product(Status, moves.items()):
        set_status(engine, status)
        if (status, wanted) in LEGAL:
            assert move("acme").status is wanted
            assert registered(engine) == {"acme": wanted}
        else:
            with pytest.raises(IllegalTransitionError) as refused:
                move("acme")
            assert (refused.value.tenant, refused.value.status, refused.value.wanted) == ("acme", status, wanted)
            assert registered(engine) == {"acme": status}


def test_a_tenant_can_be_dropped_in_every_status_and_not_resumed() -> None:
    for status in Status:
        assert status.may_become(Status.DROPPING) is (status is not Status.DROPPING)
        assert not Status.DROPPING.may_become(status)
        assert status.may_become(status) is (status is Status.DROP_SCHEDULED)  # at another time


def test_an_unknown_tenant_cannot_be_changed(any_tenancy: Any) -> None:
    for change in (any_tenancy.suspend, any_tenancy.resume, any_tenancy.start_maintenance, any_tenancy.drop):
        with pytest.raises(TenantNotFoundError) as missing:
            change("nobody")
        assert missing.value.key == "nobody"


def test_lists_are_filtered_searched_and_paged(any_tenancy: Any) -> None:
    any_tenancy.create("acme", name="Acme Tools", attributes={"plan": "gold", "region": "eu"}, domains=["tools.test"])
    any_tenancy.create("beta", name="100% Beta_x", attributes={"plan": "gold"})
    any_tenancy.create("gamma", name="Gamma", attributes={"plan": "free", "region": "eu"})
    any_tenancy.suspend("beta")

    def keys(**filters: Any) -> list[str]:
        return [tenant.key for tenant in any_tenancy.list(**filters)]

    assert keys() == ["acme", "beta", "gamma"]
    assert keys(status=Status.SUSPENDED) == ["beta"]
    assert keys(status=[Status.SUSPENDED, Status.ACTIVE]) == ["acme", "beta", "gamma"]
    assert keys(status=[]) == []
    assert keys(attributes={"plan": "gold"}) == ["acme", "beta"]
    assert keys(attributes={"plan": "gold", "region": "eu"}) == ["acme"]
    assert keys(search="TOOLS") == ["acme"]
    assert keys(search="tools.te") == ["acme"]
    assert keys(search="100%") == ["beta"]
    assert keys(search="%") == ["beta"]
    assert keys(search="a_x") == ["beta"]
    assert keys(search="'; --") == []
    assert keys(limit=2) == ["acme", "beta"]
    assert keys(after="beta") == ["gamma"]
    assert keys(after="acme", limit=1, status=Status.ACTIVE) == ["gamma"]
    assert any_tenancy.list(search="tools")[0].domains == ("tools.test",)


def test_pages_cover_every_tenant_once(tenancy: Tenancy, engine: Engine) -> None:
    keys = sorted({f"{stem}{sign}{number}" for stem in ("a", "ab") for sign in ("", "-", "_") for number in range(7)})
    with engine.begin() as connection:
        insert = text("INSERT INTO tenantkit.tenants (key, name, status, schema) VALUES (:key, :key, 'active', :key)")
        connection.execute(insert, [{"key": key} for key in keys])
    seen: list[str] = []
    while page := tenancy.list(after=seen[-1] if seen else None, limit=5):
        assert len(page) <= 5
        seen += [tenant.key for tenant in page]
    assert sorted(seen) == keys
