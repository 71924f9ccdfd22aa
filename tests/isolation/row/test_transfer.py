"""Backup and restore of tenants in common tables."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, MetaData, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tenantkit import BackupError, ProvisioningError, Tenancy, transfer
from tenantkit.transfer import source
from tests.isolation.row.conftest import APP, as_role, make_owner
from tests.isolation.row.generated import metadata
from tests.isolation.row.models import APPLICATION, Account, Invoice, Kind, Tag
from tests.isolation.row.test_declared_column import TYPES, declare, options
from tests.migrations.environments import Environment
from tests.support.generated import examples

_numbers = count()


def fill(session: Any, word: str) -> None:
    top = Account(name=f"{word} top", kind=Kind.PARTNER, tags=[Tag(name=f"{word} a"), Tag(name=f"{word} b")])
    top.invoices = [Invoice(number=f"{word} {number}") for number in range(3)]
    session.add_all([top, Account(name=f"{word} below", parent=top)])
    session.commit()


def read(tenancy: Tenancy, key: str) -> list[Any]:
    tenancy.cache.clear()  # another tenancy may have dropped the tenant
    tables = [table for table in tenancy.tables.tenant if "organization_id" not in table.columns]
    declared = [table for table in tenancy.tables.tenant if table not in tables]
    with tenancy.session(key, any_status=True) as session:
        found: list[Any] = [sorted(map(str, session.execute(select(table)))) for table in tables]
        for table in declared:
            others = [column for column in table.columns if column.name != "organization_id"]
            found.append(sorted(map(str, session.execute(select(*others)))))
    return found


@pytest.mark.parametrize("isolation", ["row", "schema"])
def test_the_rows_of_one_tenant_are_restored(pair: Tenancy, pair_url: URL, tmp_path: Path, isolation: str) -> None:
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as app:
        for key in ("berta", "acme", "berta"):
            with app.session(key) as session:
                fill(session, f"{key} {next(_numbers)}")
        before = {key: read(app, key) for key in ("acme", "berta")}
        transfer.backup(pair, "acme", tmp_path / "a.tenant", compression="none")
        assert b"berta" not in (tmp_path / "a.tenant").read_bytes()
        restored = transfer.restore(pair, tmp_path / "a.tenant", key="copy", isolation=isolation)
        assert restored.backup.rows == 9
        assert read(app, "copy") == before["acme"]
        assert {key: read(app, key) for key in before} == before
        with app.session("copy") as session:
            fill(session, "later")
        assert pair.diagnose() == []
        pair.drop("acme")
        again = transfer.restore(pair, tmp_path / "a.tenant")
        assert (again.tenant.key, read(app, "acme")) == ("acme", before["acme"])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("isolation", ["row", "schema"])
def test_rows_get_the_value_of_the_new_tenant_in_a_declared_column(
    url: URL, tmp_path: Path, kind: str, isolation: str
) -> None:
    type_, values = TYPES[kind]
    base = declare(type_)
    with (
        closing(make_owner(url, **options(base))) as owner,
        closing(Tenancy(as_role(url, APP), **options(base))) as app,
    ):
        for key, value in zip(("acme", "corp"), values, strict=False):
            owner.create(key, isolation="schema" if key == "corp" else "row", row_value=value)
            account, invoice, line, counter = base.models
            with app.session(key) as session:
                session.add(account(name=key, invoices=[invoice(amount=5)]))
                session.add(counter(name="n"))
                session.flush()
                session.add(line(id=1, invoice_id=session.scalars(select(invoice.id)).one()))
                session.commit()
        for key in ("acme", "corp"):
            before = read(app, key)
            transfer.backup(owner, key, tmp_path / f"{key}.tenant")
            owner.drop(key)
            restored = transfer.restore(owner, tmp_path / f"{key}.tenant", isolation=isolation).tenant
            assert restored.row_value == str(values[("acme", "corp").index(key)]), "the value is free again"
            assert read(app, key) == before
            copied = transfer.restore(owner, tmp_path / f"{key}.tenant", key=f"{key}-2", isolation="schema").tenant
            assert copied.row_value != restored.row_value
            assert read(app, f"{key}-2") == before
            with app.session(f"{key}-2") as session:
                found = set(session.scalars(select(base.models[0].org)))
            assert {str(each) for each in found} == {copied.row_value or str(copied.id)}
        assert owner.diagnose() == []


def test_keys_that_are_unique_among_all_tenants_cannot_be_there_twice(url: URL, tmp_path: Path) -> None:
    base = declare(TYPES["uuid"][0])
    with (
        closing(make_owner(url, **options(base))) as owner,
        closing(Tenancy(as_role(url, APP), **options(base))) as app,
    ):
        owner.create("acme", isolation="row")
        with app.session("acme") as session:
            session.add(base.models[0](id=UUID(int=5), name="x"))
            session.commit()
        transfer.backup(owner, "acme", tmp_path / "a.tenant")
        with pytest.raises(ProvisioningError, match="Give the new tenant isolation='schema'"):
            transfer.restore(owner, tmp_path / "a.tenant")


def test_an_older_file_is_migrated_in_a_schema_of_its_own_first(
    url: URL, environment: Environment, tmp_path: Path
) -> None:
    environment.add(
        "t1",
        'op.create_table("n", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.String), schema="tenant")',
    )
    environment.add("t1b", "op.execute(\"INSERT INTO n (id, a) VALUES (100, 'initial')\")")  # for each tenant
    with closing(make_owner(url, migrations=environment.folder)) as old:
        for key in ("acme", "berta"):
            old.create(
                key, isolation="row", seed=lambda session: session.execute(text("INSERT INTO n (a) VALUES ('old')"))
            )
        transfer.backup(old, "acme", tmp_path / "a.tenant")
    environment.add(
        "t2",
        'op.add_column("n", sa.Column("b", sa.String), schema="tenant")\nop.execute("UPDATE n SET b = a || \'!\'")',
    )
    with closing(make_owner(url, migrations=environment.folder)) as new:
        with pytest.raises(ProvisioningError, match="is not at the newest revisions"):
            transfer.restore(new, tmp_path / "a.tenant", key="copy")
        from tenantkit import migrations

        migrations.migrate(new, jobs=0)
        copy = transfer.restore(new, tmp_path / "a.tenant", key="copy").tenant
        with new.engine.connect() as connection:
            connection.execute(text("SELECT set_config('tenantkit.tenant', :id, true)"), {"id": str(copy.id)})
            assert connection.execute(text('SELECT id, a, b FROM "rows".n ORDER BY id')).all() == [
                (1, "old", "old!"),
                (100, "initial", "initial!"),
            ]


def test_a_superuser_backs_up_the_rows_of_one_tenant(pair: Tenancy, pair_url: URL, tmp_path: Path) -> None:
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as app:
        for key in ("acme", "berta"):
            with app.session(key) as session:
                fill(session, key)
    with closing(Tenancy(pair_url, **APPLICATION, listen=False)) as superuser:
        made = transfer.backup(superuser, "acme", tmp_path / "a.tenant", compression="none")
    assert made.rows == 9
    assert b"berta" not in (tmp_path / "a.tenant").read_bytes()


def test_a_tenant_that_is_dropped_before_the_snapshot_is_not_backed_up(
    pair: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = source._begin

    def begin(*given: Any) -> Any:
        pair.drop("acme")
        return original(*given)

    monkeypatch.setattr(source, "_begin", begin)
    with pytest.raises(BackupError, match="it was dropped meanwhile"):
        transfer.backup(pair, "acme", tmp_path / "a.tenant")


def test_others_use_shared_tables_while_rows_are_loaded(pair: Tenancy, engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shared.plan VALUES ('large')")
        for key in ("acme", "berta"):
            connection.execute(text("SELECT set_config('tenantkit.tenant', :id, true)"), {"id": str(pair.get(key).id)})
            connection.exec_driver_sql("INSERT INTO rows.account (name, kind, plan) VALUES ('a', 'CUSTOMER', 'large')")
    transfer.backup(pair, "acme", tmp_path / "a.tenant")
    berta = str(pair.get("berta").id)
    seen: list[Any] = []

    def work(table: str, *_: object) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
            seen.append(connection.exec_driver_sql("SELECT count(*) FROM shared.plan").scalar_one())
            connection.execute(text("INSERT INTO shared.plan VALUES (:name)"), {"name": table})
            connection.execute(text("SELECT set_config('tenantkit.tenant', :id, true)"), {"id": berta})
            insert = "INSERT INTO rows.account (name, kind, plan) VALUES (:name, 'CUSTOMER', :name)"
            connection.execute(text(insert), {"name": table})

    copy = transfer.restore(pair, tmp_path / "a.tenant", key="copy", progress=work).tenant
    assert seen == [1, 2, 3, 4]
    with engine.connect() as connection:
        query = f"SELECT plan FROM rows.account WHERE tenant_id = {copy.id}"
        assert connection.exec_driver_sql(query).scalars().all() == ["large"]


@pytest.mark.parametrize("recovery", ["restore", "repair", "drop"])
def test_no_schema_of_a_restore_that_was_killed_is_left(
    pair: Tenancy, engine: Engine, tmp_path: Path, recovery: str
) -> None:
    transfer.backup(pair, "acme", tmp_path / "a.tenant")

    def fail(*_: object) -> None:
        raise RuntimeError("while rows are loaded")

    def left() -> list[str]:
        with engine.connect() as connection:
            query = "SELECT nspname::text FROM pg_namespace WHERE nspname ^@ 'tenantkit_restore'"
            return list(connection.exec_driver_sql(query).scalars())

    with pytest.raises(ProvisioningError):
        transfer.restore(pair, tmp_path / "a.tenant", key="copy", progress=fail)
    assert left() == []
    with pair.engine.begin() as connection:  # as a killed process leaves it
        connection.exec_driver_sql(f"CREATE SCHEMA tenantkit_restore_{pair.get('copy').id} CREATE TABLE tag (id int)")
    match recovery:
        case "restore":
            transfer.restore(pair, tmp_path / "a.tenant", key="copy")
        case "repair":
            pair.repair()
        case _:
            pair.drop("copy")
    assert left() == []


def test_a_restore_that_fails_at_any_statement_leaves_no_row(
    pair: Tenancy, engine: Engine, tmp_path: Path, dose: Callable[[int, int], int]
) -> None:
    with pair.engine.begin() as connection:  # a trigger, which is disabled meanwhile
        connection.exec_driver_sql(
            "CREATE FUNCTION rows.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$"
        )
        connection.execute(text("SELECT set_config('tenantkit.tenant', :id, true)"), {"id": str(pair.get("acme").id)})
        connection.exec_driver_sql("INSERT INTO rows.tag (name) VALUES ('one'), ('two')")
        connection.exec_driver_sql("INSERT INTO rows.account (name, kind) VALUES ('a', 'CUSTOMER')")
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON rows.tag FOR EACH ROW EXECUTE FUNCTION rows.refuse()"
        )
    transfer.backup(pair, "acme", tmp_path / "a.tenant")

    def state() -> tuple[Any, ...]:
        with engine.connect() as connection:
            return (
                sorted(map(tuple, connection.exec_driver_sql("SELECT * FROM rows.tag").all())),
                connection.exec_driver_sql("SELECT nspname FROM pg_namespace WHERE nspname ~ 'restore'").all(),
                connection.exec_driver_sql(
                    "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'refuse'"
                ).scalar_one(),
            )

    before = state()
    sent = 0

    def fail(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            raise SQLAlchemyError("at a statement")

    event.listen(pair.engine, "before_cursor_execute", fail)
    for number in count(30, dose(23, 1)):  # noqa: B007 - `fail` reads it
        sent = 0
        try:
            transfer.restore(pair, tmp_path / "a.tenant", key="copy")
        except (ProvisioningError, SQLAlchemyError):
            assert state() == before
        else:
            break
    assert number > 100
    rows, schemas, enabled = state()
    assert len(rows) == 2 * len(before[0])
    assert (schemas, enabled) == ([], "O")


@examples(3, 40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=metadata(), chance=st.integers(0, 10**6), isolation=st.sampled_from(["row", "row", "schema"]))
def test_any_tenant_is_restored_as_it_was(
    make_database: Callable[..., URL], row_template: str, tmp_path: Path, made: MetaData, chance: int, isolation: str
) -> None:
    url = make_database(row_template)
    superuser = create_engine(url)
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {url.database} TO tk_owner")
    try:
        with (
            closing(make_owner(url, tenant=made, shared=None)) as owner,
            closing(Tenancy(as_role(url, APP), tenant=made, listen=False)) as app,
        ):
            for key in ("acme", "berta"):
                owner.create(key, isolation="row")
                _fill_randomly(app, key, random.Random(chance))
            before = {key: read(app, key) for key in ("acme", "berta")}
            file = tmp_path / f"{next(_numbers)}.tenant"
            transfer.backup(owner, "acme", file)
            transfer.restore(owner, file, key="copy", isolation=isolation)
            assert read(app, "copy") == before["acme"]
            assert {key: read(app, key) for key in before} == before
    finally:
        superuser.dispose()


def _fill_randomly(app: Tenancy, key: str, chance: random.Random) -> None:
    """Insert rows that the constraints permit."""
    kinds: dict[str, Callable[[], Any]] = {
        "INTEGER": lambda: chance.randint(1, 5),
        "BIGINT": lambda: chance.randint(1, 5),
        "VARCHAR": lambda: chance.choice("abcdef"),
        "CHAR(32)": lambda: UUID(int=chance.randint(1, 5)),
    }
    with app.session(key) as session:
        for _ in range(3):
            for table in app.tables.tenant:
                for _ in range(4):
                    values = {
                        column.name: chance.choice("ab") if column.name == "kind" else kinds[str(column.type)]()
                        for column in table.columns
                        if column.name in {"id", "code", "kind"} or chance.random() < 0.5
                    }
                    with suppress(DBAPIError), session.begin_nested():
                        session.execute(insert(table).values(values))
        session.commit()
