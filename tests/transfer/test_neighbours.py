"""Others that work beside a backup or a restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, text

from tenantkit import BackupError, MigrationError, Tenancy, transfer
from tenantkit.lifecycle import rename
from tenantkit.migrations import migrate
from tenantkit.transfer import source
from tests.migrations.environments import Environment
from tests.support.catalog import registered

Fill = Callable[..., None]


def test_others_use_shared_tables_while_rows_are_loaded(
    tenancy: Tenancy, engine: Engine, tmp_path: Path, fill: Fill
) -> None:
    for key in ("acme", "beta"):
        tenancy.create(key)
        fill(tenancy, key, "one")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.country VALUES ('DE', '')"))
        connection.execute(text("UPDATE t_acme.project SET country_code = 'DE'"))
    transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    seen: list[Any] = []

    def work(table: str, *_: object) -> None:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
            seen.append(connection.execute(text("SELECT count(*) FROM shared.country")).scalar_one())
            insert = "INSERT INTO t_beta.project (name, country_code) VALUES (:name, 'DE')"
            connection.execute(text(insert), {"name": table})

    restored = transfer.restore(tenancy, tmp_path / "acme.tenant", progress=work).tenant
    assert seen == [1, 1]
    with engine.connect() as connection:
        keys = text(
            "SELECT convalidated FROM pg_constraint WHERE conrelid = to_regclass(:table) "
            "AND confrelid = 'shared.country'::regclass"
        )
        assert connection.execute(keys, {"table": f'"{restored.schema}".project'}).scalars().all() == [True]


def test_a_tenant_that_is_backed_up_does_not_stay_in_maintenance(
    make_owned: Callable[[str], Tenancy],
    make_tenancy: Callable[..., Tenancy],
    owned: URL,
    engine: Engine,
    environment: Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_owned("CREATE TABLE n (id int)").create("acme")
    environment.add("t2", 'op.execute("CREATE TABLE m (id int)")')
    tenancy = make_tenancy(database=owned, migrations=environment.folder)
    monkeypatch.setattr("tenantkit.postgres.retry.PATIENCE", 0.2)

    def work(*_: object) -> None:
        with pytest.raises(MigrationError):
            migrate(tenancy, maintenance=True, jobs=0)
        assert registered(engine) == {"acme": "active"}

    transfer.backup(tenancy, "acme", tmp_path / "acme.tenant", progress=work)
    migrate(tenancy, maintenance=True, jobs=0)
    assert registered(engine) == {"acme": "active"}


def test_a_tenant_that_is_gone_before_the_snapshot_is_not_backed_up(
    tenancy: Tenancy, tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    original = source._begin
    acts: list[Callable[[], object]] = [
        lambda: rename(tenancy, "acme", "beta"),
        lambda: rename(tenancy, "beta", "gamma", schema=True),
        lambda: tenancy.drop("gamma"),
    ]

    def begin(*given: Any) -> Any:
        acts.pop(0)()
        return original(*given)

    monkeypatch.setattr(source, "_begin", begin)
    made = transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    assert (made.key, made.rows) == ("beta", 2)
    for key, said in (("beta", "its tables are in the schema 't_gamma' now"), ("gamma", "it was dropped meanwhile")):
        with pytest.raises(BackupError, match=said):
            transfer.backup(tenancy, key, tmp_path / f"{key}.tenant")
        assert not (tmp_path / f"{key}.tenant").exists()
