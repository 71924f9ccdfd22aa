"""A drop takes few locks at a time, and says which transactions are in its way."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import URL, Connection, Engine, event

from tenantkit import ProvisioningError, Tenancy
from tenantkit.postgres.limits import Limits
from tests.lifecycle.test_renaming import Base
from tests.support.catalog import fingerprint, registered, schemas

_MANY_TABLES = """
DO $$ BEGIN
    CREATE TABLE t_acme.parent (id int PRIMARY KEY, name text);
    FOR number IN 1..40 LOOP
        EXECUTE format('CREATE TABLE t_acme.child%%s (id serial PRIMARY KEY, name text UNIQUE, '
            'parent int REFERENCES t_acme.parent, code text REFERENCES shared.country)', number);
    END LOOP;
    CREATE TABLE t_acme.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
    FOR number IN 1..40 LOOP
        EXECUTE format('CREATE TABLE t_acme."part%%s" PARTITION OF t_acme.parted FOR VALUES FROM (%%s) TO (%%s)',
            number, number, number + 1);
    END LOOP;
    CREATE VIEW t_acme.v AS SELECT parent.id, child1.name FROM t_acme.parent JOIN t_acme.child1 ON parent = parent.id;
    CREATE FUNCTION t_acme.f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM t_acme.child2; END;
END $$
"""


def test_a_drop_of_many_tables_takes_few_locks_at_a_time(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    tenancy.create("beta")
    with engine.begin() as connection:
        connection.exec_driver_sql(_MANY_TABLES)
        connection.exec_driver_sql("SAVEPOINT before")
        connection.exec_driver_sql("DROP SCHEMA t_acme CASCADE")
        at_once = _count_locks(connection)
        connection.exec_driver_sql("ROLLBACK TO before")
    before = fingerprint(engine, "t_beta")
    locks: list[int] = []
    event.listen(tenancy.engine, "commit", lambda connection: locks.append(_count_locks(connection)))
    tenancy.drop("acme")
    assert at_once > 600
    assert max(locks) < 150
    assert schemas(engine) == {"public", "shared", "tenantkit", "t_beta"}
    assert fingerprint(engine, "t_beta") == before


def _count_locks(connection: Connection) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('relation', 'object')"
    return connection.exec_driver_sql(query).scalar_one()


@pytest.mark.parametrize("table", ["t_acme.task", "shared.country"])
def test_a_transaction_in_the_way_is_named_and_the_drop_can_be_repeated(
    tenancy: Tenancy, engine: Engine, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.pause", lambda _: 0.01)
    monkeypatch.setattr("tenantkit.postgres.limits.POLITE", Limits("20ms"))
    monkeypatch.setattr("tenantkit.isolation.schemas.SHORT_WAITS", Limits("20ms"))
    tenancy.create("acme")
    with engine.connect() as reader:
        reader.exec_driver_sql(f"SELECT 'hunter2' FROM {table}").all()
        pid = reader.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with pytest.raises(
            ProvisioningError, match=rf"process {pid} \(user postgres, idle in transaction for"
        ) as named:
            tenancy.drop("acme")
        assert "hunter2" not in str(named.value)
    assert registered(engine) == {"acme": "dropping"}
    assert tenancy.drop("acme").key == "acme"
    assert schemas(engine) == {"public", "shared", "tenantkit"}


def test_neighbours_wait_for_a_shared_table_for_half_a_second_at_most(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    limits: list[str] = []

    def see(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "DROP CONSTRAINT" in statement:
            limits.append(connection.exec_driver_sql("SHOW lock_timeout").scalar_one())

    event.listen(tenancy.engine, "before_cursor_execute", see)
    tenancy.drop("acme")
    assert {*limits} == {"500ms"}


def test_the_tables_of_an_extension_go_with_it(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION citext SCHEMA t_acme; CREATE TABLE t_acme.of_it (id int)")
        connection.exec_driver_sql("ALTER EXTENSION citext ADD TABLE t_acme.of_it")
    tenancy.drop("acme")
    assert schemas(engine) == {"public", "shared", "tenantkit"}


@pytest.mark.parametrize("isolation", ["schema", "database"])
def test_a_prepared_transaction_is_named_before_anything_is_dropped(two_phase_server: URL, isolation: str) -> None:
    with closing(Tenancy(two_phase_server, tenant=Base.metadata, listen=False)) as tenancy:
        tenancy.install()
        tenant = tenancy.create("acme", isolation=isolation)
        there = tenancy.databases.engine(tenant.placement.database)
        with there.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            insert = f"INSERT INTO \"{tenant.schema}\".note (text) VALUES ('prepared')"
            connection.exec_driver_sql(f"BEGIN; {insert}; PREPARE TRANSACTION 'in the way'")
            try:
                with pytest.raises(ProvisioningError, match="'in the way'; execute COMMIT PREPARED or ROLLBACK"):
                    tenancy.drop("acme")
                assert registered(tenancy.engine) == {"acme": "active"}
            finally:
                connection.exec_driver_sql("ROLLBACK PREPARED 'in the way'")
        tenancy.drop("acme")
