"""Restores into other revisions, beside living tenants, with shared rows, domains and declared columns."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, text

from tenantkit import (
    BackupError,
    ConfigurationError,
    ProvisioningError,
    Status,
    Tenancy,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
    transfer,
)
from tenantkit.lifecycle import rename, swap
from tenantkit.runs.claims import claim
from tenantkit.transfer import filling, restoring, source
from tests.migrations.environments import Environment
from tests.support.catalog import registered
from tests.support.models import Country, Project
from tests.support.processes import until

Fill = Callable[..., None]
Read = Callable[[Tenancy, str], Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "acme.tenant"


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.parametrize("steps", ["in one transaction", "in steps"])
def test_an_older_file_is_migrated_to_the_newest_revision(
    owned: URL,
    engine: Engine,
    environment: Environment,
    make_tenancy: Callable[..., Tenancy],
    file: Path,
    steps: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if steps == "in steps":
        monkeypatch.setattr(filling, "IN_ONE_TRANSACTION", 0)
    environment.add("t1", 'op.execute("CREATE TABLE n (id serial PRIMARY KEY, a text); INSERT INTO n (a) VALUES (1)")')
    old = make_tenancy(database=owned, migrations=environment.folder)
    old.create("acme")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t_acme.n (a) VALUES ('2')"))
    transfer.backup(old, "acme", file)
    environment.add(
        "t2", "op.execute(\"ALTER TABLE n ADD b text; UPDATE n SET b = a || '!'; INSERT INTO n (a) VALUES (9)\")"
    )
    new = make_tenancy(database=owned, migrations=environment.folder)
    restored = transfer.restore(new, file, key="beta")
    assert (restored.plan.from_revision, restored.plan.to_revision) == ("t1", "t2")
    assert rows(engine, "SELECT * FROM t_beta.n ORDER BY id") == [(1, "1", "1!"), (2, "2", "2!"), (3, "9", None)]
    assert rows(engine, "SELECT version_num FROM t_beta.alembic_version") == [("t2",)]

    transfer.backup(new, "beta", file.with_name("beta.tenant"))
    for newer in (old, make_tenancy(database=owned)):
        environment.remove("t2")
        with pytest.raises(BackupError, match="(Update the code|this tenancy has no migrations)"):
            transfer.restore(newer, file.with_name("beta.tenant"), key="gamma")
        environment.add("t2", "pass", after="t1")
    assert registered(engine) == {"acme": "active", "beta": "active"}


def test_a_tenant_is_restored_after_it_was_dropped_with_its_domains(
    tenancy: Tenancy, file: Path, fill: Fill, read: Read
) -> None:
    tenancy.create("acme", domains=["b.example.com", "a.example.com"], attributes={"seats": 5})
    fill(tenancy, "acme", "one")
    before = read(tenancy, "acme")
    transfer.backup(tenancy, "acme", file)
    tenancy.drop("acme")
    restored = transfer.restore(tenancy, file)
    assert (restored.tenant.key, restored.tenant.status, restored.differences) == ("acme", Status.ACTIVE, None)
    assert restored.tenant.domains == ("b.example.com", "a.example.com")
    assert tenancy.get_by_domain("a.example.com").id == restored.tenant.id
    assert read(tenancy, "acme") == before


def test_beside_a_living_tenant_nothing_of_it_changes(tenancy: Tenancy, file: Path, fill: Fill, read: Read) -> None:
    tenancy.create("acme", domains=["a.example.com"])
    fill(tenancy, "acme", "one", "two")
    transfer.backup(tenancy, "acme", file)
    fill(tenancy, "acme", "three")
    with tenancy.session("acme") as session:
        session.get_one(Project, 1).name = "changed"
        session.commit()
    before = read(tenancy, "acme")
    planned = transfer.preview(tenancy, file)
    restored = transfer.restore(tenancy, file)
    assert restored.plan == planned
    assert (restored.tenant.key, restored.tenant.status) == ("acme-restored", Status.SUSPENDED)
    assert restored.tenant.domains == ()
    assert restored.plan.domains_left_out == ("a.example.com",)
    assert {each.table: (each.live, each.restored, each.is_equal) for each in restored.differences or ()} == {
        "project": (3, 2, False),
        "task": (3, 2, False),
    }
    assert read(tenancy, "acme") == before
    with pytest.raises(TenantUnavailableError):
        tenancy.session("acme-restored")
    with pytest.raises(TenantExistsError):
        transfer.restore(tenancy, file)
    with pytest.raises(TenantExistsError):
        transfer.restore(tenancy, file, key="acme")


def test_a_change_of_one_value_is_a_difference(tenancy: Tenancy, file: Path, fill: Fill) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    transfer.backup(tenancy, "acme", file)
    with tenancy.session("acme") as session:
        session.get_one(Project, 1).name = "changed"
        session.commit()
    restored = transfer.restore(tenancy, file)
    assert [each.table for each in restored.changed] == ["project"]


def test_missing_shared_rows_are_told_before_anything_changes(
    tenancy: Tenancy, engine: Engine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.add_all(
            [Project(name=code, country=Country(code=code, name=code)) for code in ("DE", "FR", "IT")]
            + [Project(name="-")]
        )
        session.commit()
    transfer.backup(tenancy, "acme", file)
    tenancy.drop("acme")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM shared.country WHERE code <> 'FR'"))
    planned = transfer.preview(tenancy, file)
    assert [(each.table, each.columns, each.shared_table, each.values) for each in planned.missing] == [
        ("project", ("country_code",), "shared.country", (("DE",), ("IT",)))
    ]
    with pytest.raises(BackupError, match="shared.country has no DE, IT, to which project.country_code refers"):
        transfer.restore(tenancy, file)
    assert registered(engine) == {}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.country VALUES ('DE', ''), ('IT', '')"))
    assert transfer.restore(tenancy, file).tenant.key == "acme"

    # Without the list of values, PostgreSQL refuses the key.
    monkeypatch.setattr(source, "MOST_VALUES", 1)
    transfer.backup(tenancy, "acme", file.with_name("b.tenant"))
    with tenancy.session("acme") as session:
        session.execute(text("UPDATE project SET country_code = NULL"))
        session.commit()
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM shared.country WHERE code = 'DE'"))
    with pytest.raises(ProvisioningError, match="loading the rows failed"):
        transfer.restore(tenancy, file.with_name("b.tenant"), key="beta")


@pytest.mark.parametrize("status", ["provisioning", "dropping", "failed"])
def test_a_tenant_without_complete_tables_is_not_backed_up(
    tenancy: Tenancy, engine: Engine, file: Path, status: str
) -> None:
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = :status"), {"status": status})
    with pytest.raises(TenantUnavailableError, match="has no complete tables"):
        transfer.backup(tenancy, "acme", file)
    with pytest.raises(TenantNotFoundError):
        transfer.backup(tenancy, "beta", file)
    assert not file.exists()


def test_a_tenant_is_restored_suspended_if_it_was_suspended_or_on_request(tenancy: Tenancy, file: Path) -> None:
    tenancy.create("acme")
    transfer.backup(tenancy, "acme", file)
    assert transfer.restore(tenancy, file, key="beta").tenant.status == Status.ACTIVE
    assert transfer.restore(tenancy, file, key="gamma", suspended=True).tenant.status == Status.SUSPENDED
    for read_only, status in ((False, Status.SUSPENDED), (True, Status.READ_ONLY)):
        tenancy.suspend("acme", read_only=read_only)
        again = transfer.backup(tenancy, "acme", file.with_name(f"{status}.tenant"))
        tenancy.drop("acme")
        assert transfer.restore(tenancy, again.path).tenant.status == status


def test_a_tenant_that_has_another_key_now_lives(tenancy: Tenancy, file: Path, fill: Fill) -> None:
    tenancy.create("acme", domains=["a.example.com"])
    fill(tenancy, "acme", "one")
    transfer.backup(tenancy, "acme", file)
    rename(tenancy, "acme", "globex")
    fill(tenancy, "globex", "two")
    restored = transfer.restore(tenancy, file)
    assert (restored.tenant.key, restored.tenant.status) == ("globex-restored", Status.SUSPENDED)
    assert (restored.plan.is_beside, restored.plan.living) == (True, "globex")
    assert [each.table for each in restored.changed] == ["project", "task"]
    tenancy.drop("globex")
    assert transfer.restore(tenancy, file).tenant.key == "acme"


def test_a_restored_tenant_is_the_copy_of_the_tenant_that_was_backed_up_and_of_no_other_one(
    tenancy: Tenancy, file: Path, fill: Fill, read: Read
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    transfer.backup(tenancy, "acme", file)
    rename(tenancy, "acme", "globex")
    tenancy.create("acme")  # another customer
    transfer.restore(tenancy, file, key="copy", suspended=True)
    with pytest.raises(ProvisioningError, match="'copy' was not restored from a backup of 'acme'"):
        swap(tenancy, "acme", "copy")
    swap(tenancy, "globex", "copy")
    tenancy.drop("globex")
    beside = transfer.restore(tenancy, file)
    assert (beside.plan.living, beside.tenant.key) == ("acme", "acme-restored")
    with pytest.raises(ProvisioningError, match="'acme-restored' was not restored from a backup of 'acme'"):
        swap(tenancy, "acme", "acme-restored")
    assert read(tenancy, "acme") == []


@pytest.mark.parametrize("what", ["renamed", "dropped"])
def test_a_living_tenant_may_be_renamed_or_dropped_during_the_restore(
    tenancy: Tenancy, file: Path, fill: Fill, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    transfer.backup(tenancy, "acme", file)

    def compare(*given: Any) -> Any:
        rename(tenancy, "acme", "globex") if what == "renamed" else tenancy.drop("acme")
        return original(*given)

    original = restoring._compare
    monkeypatch.setattr(restoring, "_compare", compare)
    restored = transfer.restore(tenancy, file)
    assert restored.tenant.key == "acme-restored"
    assert (restored.differences is None) == (what == "dropped")
    assert restored.changed == ()


def test_a_database_that_does_not_exist_here_is_replaced_by_the_placement(
    tenancy: Tenancy, file: Path, engine: Engine
) -> None:
    tenancy.create("acme")
    with pytest.raises(ConfigurationError, match="no database of this tenancy"):
        transfer.backup(tenancy, "acme", file)
        transfer.restore(tenancy, file, database="eu")
    assert registered(engine) == {"acme": "active"}


def test_a_backup_is_one_snapshot(tenancy: Tenancy, engine: Engine, file: Path, fill: Fill) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")

    def change(table: str, *_: object) -> None:
        if table == "project":
            fill(tenancy, "acme", "later")

    made = transfer.backup(tenancy, "acme", file, progress=change)
    assert made.tables == {"project": 1, "task": 1}


def test_the_snapshot_is_newer_than_a_truncate_that_was_waited_for(
    tenancy: Tenancy, engine: Engine, file: Path, fill: Fill
) -> None:
    """In an older one, PostgreSQL shows the table as empty."""
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as thread, engine.connect() as connection:
        connection.execute(text("TRUNCATE t_acme.task"))
        connection.execute(text("INSERT INTO t_acme.task (title, state, project_id) VALUES ('new', 'OPEN', 1)"))
        made = thread.submit(transfer.backup, tenancy, "acme", file)
        until(lambda: rows(engine, waiting) == [(1,)])
        connection.commit()
    assert made.result().tables == {"project": 1, "task": 1}


def test_no_migration_begins_during_a_backup(tenancy: Tenancy, engine: Engine, file: Path) -> None:
    tenancy.create("acme")
    claimed: list[bool] = []

    def try_claim(*_: object) -> None:
        with engine.begin() as connection:
            claimed.append(claim(connection, "t_acme"))

    transfer.backup(tenancy, "acme", file, progress=try_claim)
    try_claim()
    assert claimed == [False, False, True]


@pytest.mark.parametrize("status", ["provisioning", "failed", "dropping"])
def test_the_same_call_takes_an_unfinished_restore_over_with_its_domains(
    tenancy: Tenancy, engine: Engine, file: Path, fill: Fill, read: Read, status: str
) -> None:
    tenancy.create("acme", domains=["a.example.com"])
    fill(tenancy, "acme", "one")
    before = read(tenancy, "acme")
    transfer.backup(tenancy, "acme", file)
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = :status"), {"status": status})
        connection.execute(text("DROP SCHEMA t_acme CASCADE"))
    tenancy.cache.clear()
    restored = transfer.restore(tenancy, file).tenant
    assert (restored.key, restored.status, restored.domains) == ("acme", Status.ACTIVE, ("a.example.com",))
    assert read(tenancy, "acme") == before


def test_rows_that_a_table_does_not_take_are_not_in_the_error(
    owned: URL, environment: Environment, make_tenancy: Callable[..., Tenancy], file: Path
) -> None:
    environment.add("t1", "op.execute(\"CREATE TYPE mood AS ENUM ('fine', 'secret'); CREATE TABLE n (m mood)\")")
    tenancy = make_tenancy(database=owned, migrations=environment.folder)
    tenancy.create("acme", seed=lambda session: session.execute(text("INSERT INTO n VALUES ('secret')")))
    transfer.backup(tenancy, "acme", file)
    environment.remove("t1")
    environment.add("t1", "op.execute(\"CREATE TYPE mood AS ENUM ('fine'); CREATE TABLE n (m mood)\")", after="base")
    other = make_tenancy(database=owned, migrations=environment.folder)
    with pytest.raises(ProvisioningError, match="the table 'n' does not take the rows .22P02.") as caught:
        transfer.restore(other, file)
    chain: list[BaseException | None] = [caught.value]
    while chain[-1] is not None:
        assert "secret" not in str(chain[-1])
        chain.append(chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__))


@pytest.mark.all_cases
def test_memory_does_not_grow_with_the_rows(
    owned: URL, environment: Environment, make_tenancy: Callable[..., Tenancy], file: Path
) -> None:
    environment.add("t1", 'op.execute("CREATE TABLE n (a text)")')
    tenancy = make_tenancy(database=owned, migrations=environment.folder)
    rows = "INSERT INTO n SELECT repeat(md5(g::text), 30) FROM generate_series(1, 60000) AS g"
    tenancy.create("acme", seed=lambda session: session.execute(text(rows)))

    def back_up() -> None:
        assert transfer.backup(tenancy, "acme", file, compression="none").size > 55_000_000

    for work in (back_up, lambda: transfer.restore(tenancy, file, key="beta")):
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 25_000_000
