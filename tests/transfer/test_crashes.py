"""Processes killed at each statement of a backup, a restore or a clone: the next call does all of it; no other tenant changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tenantkit import BackupError, Tenancy, transfer
from tests.support.catalog import fingerprint, registered, schemas, structure
from tests.support.processes import until_alone, worker
from tests.transfer import work

Read = Callable[[Tenancy, str], object]
RESTORES = (work.restore, work.restore_in_steps, work.clone, work.clone_in_steps)


@pytest.fixture
def file(tenancy: Tenancy, tmp_path: Path, fill: Callable[..., None]) -> Path:
    tenancy.create("acme")
    fill(tenancy, "acme", "one", "two")
    transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    return tmp_path / "acme.tenant"


@pytest.mark.parametrize("restore", RESTORES)
@pytest.mark.parametrize("recovery", ["restore", "repair"])
def test_after_a_kill_at_any_statement_the_next_process_recovers(
    tenancy: Tenancy,
    engine: Engine,
    file: Path,
    restore: Callable[..., object],
    recovery: str,
    read: Read,
    dose: Callable[[int, int], int],
) -> None:
    before = fingerprint(engine, "t_acme")
    step = dose(81, 1)
    first = 1 + (11 * RESTORES.index(restore) + 7 * (recovery == "repair")) % step
    for number in count(first, step):
        with worker(engine.url, restore, str(file), stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        until_alone(engine)
        tenancy.cache.clear()
        if recovery == "repair":
            tenancy.repair()
            if registered(engine).get("beta") != "active":
                assert registered(engine) == {"acme": "active"}
                assert schemas(engine) == {"public", "shared", "tenantkit", "t_acme"}
        if registered(engine).get("beta") != "active":
            restore(tenancy, str(file))
        assert read(tenancy, "beta") == read(tenancy, "acme")
        assert structure(engine, tenancy.get("beta").schema) == structure(engine, "t_acme")
        assert fingerprint(engine, "t_acme") == before
        assert tenancy.diagnose() == []
        tenancy.drop("beta")
        if answer != "stopped":
            assert number > 20, "the work ended before it had begun"
            break


def test_after_a_kill_of_a_backup_there_is_no_file_or_a_complete_one(
    engine: Engine, file: Path, tmp_path: Path, dose: Callable[[int, int], int]
) -> None:
    path = tmp_path / "again.tenant"
    for number in count(1, dose(17, 1)):
        with worker(engine.url, work.back_up, str(path), stop_at=number) as victim:
            answer = victim.wait()
            victim.kill()
        if path.exists():  # if it was killed, the history lacks it
            assert transfer.verify(path).rows == 4
            path.unlink()
        if answer != "stopped":
            break
    assert number > 10


def test_two_restores_at_once_make_one_tenant(tenancy: Tenancy, engine: Engine, file: Path, read: Read) -> None:
    with worker(engine.url, work.restore, str(file), stop_at=45) as first:
        assert first.wait() == "stopped"
        with worker(engine.url, work.restore, str(file)) as second:
            assert second.wait() == "TenantExistsError"
        first.go_on()
        assert first.wait() == "beta"
    assert read(tenancy, "beta") == read(tenancy, "acme")


def test_a_backup_waits_for_no_migration_for_ever(
    tenancy: Tenancy, engine: Engine, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.transfer.source.PATIENCE", 0.2)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('tenantkit migration'), hashtext('t_acme'))")
        with pytest.raises(BackupError, match="its tables are being migrated"):
            transfer.backup(tenancy, "acme", tmp_path / "b.tenant")
        connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
    transfer.backup(tenancy, "acme", tmp_path / "b.tenant")
