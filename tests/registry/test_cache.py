"""Looked-up tenants are cached until they change or expire."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event

from tenantkit import Placement, Status, Tenancy, Tenant, TenantNotFoundError
from tenantkit.registry import store
from tenantkit.registry.cache import TenantCache
from tests.support.processes import until, worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tenant(key: str, number: int = 1) -> Tenant:
    return Tenant(
        id=number,
        key=key,
        name=key,
        status=Status.ACTIVE,
        placement=Placement("main", key),
        created_at=NOW,
        updated_at=NOW,
    )


def test_an_entry_expires_after_its_time_to_live() -> None:
    now = 100.0
    cache = TenantCache(ttl=10, size=5, clock=lambda: now)
    cache.store(("key", "acme"), tenant("acme"), generation=0)
    now = 109.9
    assert cache.find(("key", "acme")) == tenant("acme")
    now = 110.0
    assert cache.find(("key", "acme")) is None


@pytest.mark.parametrize(("ttl", "size"), [(0, 5), (-1, 5), (10, 0)])
def test_a_cache_may_be_turned_off(ttl: float, size: int) -> None:
    cache = TenantCache(ttl=ttl, size=size)
    cache.store(("key", "acme"), tenant("acme"), generation=0)
    assert cache.find(("key", "acme")) is None


def test_the_oldest_entries_are_evicted() -> None:
    cache = TenantCache(ttl=10, size=2)
    for key in ("a", "b", "a", "c"):
        cache.store(("key", key), tenant(key), generation=0)
    assert [key for key in "abc" if cache.find(("key", key))] == ["a", "c"]


def test_forgetting_a_tenant_drops_its_key_and_its_domains_only() -> None:
    cache = TenantCache(ttl=10, size=5)
    cache.store(("key", "acme"), tenant("acme"), generation=0)
    cache.store(("domain", "acme.test"), tenant("acme"), generation=0)
    cache.store(("key", "beta"), tenant("beta"), generation=0)
    cache.forget("acme")
    assert cache.find(("key", "acme")) is None
    assert cache.find(("domain", "acme.test")) is None
    assert cache.find(("key", "beta")) == tenant("beta")
    cache.clear()
    assert cache.find(("key", "beta")) is None


def test_forgetting_a_tenant_reads_no_other_entry() -> None:
    compared: list[str] = []

    class Key(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            compared.append(str(self))
            return str.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            return not self == other

        __hash__ = str.__hash__

    cache = TenantCache(ttl=10, size=2_000)
    for number in range(1_000):
        key = Key(f"k{number}")
        cache.store(("key", key), tenant(key, number), generation=0)
        cache.store(("domain", f"{key}.test"), tenant(key, number), generation=0)
    compared.clear()
    cache.forget("k7")
    assert len(compared) < 10
    assert cache.find(("key", "k7")) is None
    assert cache.find(("domain", "k7.test")) is None
    assert cache.find(("domain", "k8.test")) is not None


def test_the_cache_keeps_no_names_of_evicted_entries() -> None:
    cache = TenantCache(ttl=10, size=3)
    for number in range(10):
        cache.store(("key", f"k{number}"), tenant(f"k{number}"), generation=0)
        cache.store(("domain", "moving.test"), tenant(f"k{number}"), generation=0)
    assert {name for names in cache._names.values() for name in names} == set(cache._entries)
    assert all(cache._names.values())


def test_an_outdated_answer_is_not_cached() -> None:
    cache = TenantCache(ttl=10, size=5)
    for invalidate in (lambda: cache.forget("acme"), lambda: cache.forget("other"), cache.clear):
        generation = cache.generation
        invalidate()
        cache.store(("key", "acme"), tenant("acme"), generation=generation)
        assert cache.find(("key", "acme")) is None


def test_a_change_during_a_look_up_is_not_overwritten_by_its_answer(tenancy: Tenancy) -> None:
    tenancy.create("acme")

    def find(connection: Any, key: str) -> Tenant:
        found = store.get(connection, key)
        tenancy.suspend("acme")
        return found

    with tenancy.engine.connect() as connection:
        assert tenancy.lookups.look_up(connection, ("key", "acme"), find).status is Status.ACTIVE
    assert tenancy.get("acme").status is Status.SUSPENDED


def test_a_cached_tenant_is_looked_up_without_the_database(any_tenancy: Any) -> None:
    any_tenancy.create("acme", domains=["acme.test"])
    known = any_tenancy.get("acme"), any_tenancy.get_by_domain("acme.test")
    sent: list[str] = []
    engine = getattr(any_tenancy.engine, "sync_engine", any_tenancy.engine)
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    assert (any_tenancy.get("acme"), any_tenancy.get_by_domain("ACME.test.")) == known
    assert sent == []


def test_a_process_sees_its_own_changes_at_once(any_tenancy: Any) -> None:
    any_tenancy.create("acme", domains=["acme.test"])
    for change, seen in [
        (lambda: any_tenancy.update("acme", name="Acme"), lambda it: it.name == "Acme"),
        (lambda: any_tenancy.suspend("acme"), lambda it: it.status is Status.SUSPENDED),
        (lambda: any_tenancy.add_domain("acme", "b.test"), lambda it: it.domains == ("acme.test", "b.test")),
    ]:
        any_tenancy.get("acme")
        any_tenancy.get_by_domain("acme.test")
        change()
        assert seen(any_tenancy.get("acme"))
        assert seen(any_tenancy.get_by_domain("acme.test"))
    any_tenancy.drop("acme")
    for look in (lambda: any_tenancy.get("acme"), lambda: any_tenancy.get_by_domain("acme.test")):
        with pytest.raises(TenantNotFoundError):
            look()


# Other processes


@pytest.fixture
def listening(make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """A tenancy that is notified of changes, with a time to live that never expires."""
    tenancy = make_tenancy(listen=True, cache_ttl=10_000)
    tenancy.create("acme", domains=["acme.test"])
    hear(tenancy)
    return tenancy


def hear(tenancy: Tenancy) -> None:
    tenancy.cache.clear()
    tenancy.get("acme")
    listener = tenancy.lookups.listener
    assert listener is not None
    assert listener.listening.wait(30)
    assert tenancy.get("acme") is tenancy.get("acme")


@pytest.fixture
def psql(engine: Engine) -> Generator[Callable[[str], object]]:
    """Run SQL in another session."""
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection.execute


def rename(tenancy: Tenancy, name: str) -> str:
    return tenancy.update("acme", name=name).name


def test_a_change_by_another_process_is_noticed(listening: Tenancy) -> None:
    with worker(listening.engine.url, rename, "Renamed") as other:
        assert other.wait() == "Renamed"
    until(lambda: listening.get("acme").name == "Renamed")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("UPDATE tenantkit.tenants SET name = 'by hand'", lambda tenancy: tenancy.get("acme").name == "by hand"),
        ("UPDATE tenantkit.tenants SET key = 'new'", lambda tenancy: tenancy.cache.find(("key", "acme")) is None),
        ("DELETE FROM tenantkit.tenants", lambda tenancy: tenancy.cache.find(("key", "acme")) is None),
        ("TRUNCATE tenantkit.tenants CASCADE", lambda tenancy: tenancy.cache.find(("key", "acme")) is None),
        ("TRUNCATE tenantkit.domains", lambda tenancy: tenancy.get("acme").domains == ()),
        ("DELETE FROM tenantkit.domains", lambda tenancy: tenancy.get("acme").domains == ()),
        (
            "UPDATE tenantkit.domains SET domain = 'b.test'",
            lambda tenancy: (
                tenancy.cache.find(("domain", "acme.test")) is None and tenancy.get("acme").domains == ("b.test",)
            ),
        ),
        (
            "INSERT INTO tenantkit.domains SELECT 'b.test', id FROM tenantkit.tenants",
            lambda tenancy: tenancy.get_by_domain("acme.test").domains == ("acme.test", "b.test"),
        ),
    ],
)
def test_a_change_by_hand_is_noticed(
    listening: Tenancy, psql: Callable[[str], object], change: str, seen: Callable[[Tenancy], bool]
) -> None:
    listening.get_by_domain("acme.test")
    psql(change)
    until(lambda: seen(listening))


def test_a_domain_moved_by_hand_is_updated_for_both_tenants(listening: Tenancy, psql: Callable[[str], object]) -> None:
    listening.create("beta")
    assert listening.get("beta").domains == ()
    assert listening.get_by_domain("acme.test").key == "acme"
    psql("UPDATE tenantkit.domains SET tenant_id = (SELECT id FROM tenantkit.tenants WHERE key = 'beta')")
    until(lambda: listening.get_by_domain("acme.test").key == "beta")
    until(lambda: (listening.get("acme").domains, listening.get("beta").domains) == ((), ("acme.test",)))


def test_a_lost_connection_is_opened_again_and_the_cache_is_cleared(
    make_tenancy: Callable[..., Tenancy], psql: Callable[[str], Any]
) -> None:
    tenancy = make_tenancy(listen=True, cache_ttl=10_000)
    listener = tenancy.lookups.listener
    assert listener is not None
    listener._retry_after = 0.05
    tenancy.create("acme")
    hear(tenancy)
    psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query = 'LISTEN tenantkit'"
    )
    psql("UPDATE tenantkit.tenants SET name = 'missed'")
    until(lambda: tenancy.get("acme").name == "missed")
    until(listener.listening.is_set)
    psql("UPDATE tenantkit.tenants SET name = 'heard'")
    until(lambda: tenancy.get("acme").name == "heard")


def test_listening_takes_no_connection_from_the_pool(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(listen=True, engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 60})
    tenancy.create("acme")
    hear(tenancy)
    with tenancy.session("acme") as session:
        session.connection()
        assert tenancy.engine.pool.checkedout() == 1  # type: ignore[attr-defined]


def test_closing_ends_the_listener(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(listen=True)
    tenancy.create("acme")
    hear(tenancy)
    listener = tenancy.lookups.listener
    tenancy.close()
    assert listener is not None
    assert not listener.listening.is_set()
    assert listener._thread is not None
    assert not listener._thread.is_alive()
