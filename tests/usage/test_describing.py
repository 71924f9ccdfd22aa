"""The description of a tenant has each table once, with all that belongs to it, whatever its name is."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from tenantkit import Tenancy, TenantNotFoundError
from tenantkit.postgres.limits import Limits
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.usage import describe
from tests.support import processes

NAME = 'we:ird % "name"'
_QUOTED = "t_acme." + quote_identifier(NAME)
_TABLES = f"""
CREATE TABLE {_QUOTED} (id int PRIMARY KEY, long text);
INSERT INTO {_QUOTED} SELECT n, (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 400) AS m)
    FROM generate_series(1, 30) AS n;
CREATE TABLE t_acme.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE t_acme.low PARTITION OF t_acme.parted FOR VALUES FROM (0) TO (50) PARTITION BY RANGE (id);
CREATE TABLE t_acme.lowest PARTITION OF t_acme.low FOR VALUES FROM (0) TO (50);
CREATE TABLE t_acme.high PARTITION OF t_acme.parted FOR VALUES FROM (50) TO (999);
CREATE TABLE t_acme.bare (id int) PARTITION BY RANGE (id);
INSERT INTO t_acme.parted SELECT generate_series(1, 100);
CREATE MATERIALIZED VIEW t_acme.counted AS SELECT id FROM t_acme.parted;
CREATE MATERIALIZED VIEW t_acme.never_counted AS SELECT id FROM t_acme.parted WITH NO DATA;
CREATE VIEW t_acme.seen AS SELECT id FROM t_acme.parted;
"""
_ON_DISK = """
WITH own AS (SELECT oid, reltoastrelid FROM pg_class WHERE relnamespace = 't_acme'::regnamespace AND relkind IN ('r', 'i', 'm')),
toast AS (SELECT oid FROM pg_class WHERE oid IN (SELECT reltoastrelid FROM own)),
relations AS (
    SELECT oid FROM own UNION SELECT oid FROM toast
    UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM toast)
)
SELECT sum(pg_relation_size(oid, 'main') + pg_relation_size(oid, 'fsm') + pg_relation_size(oid, 'vm')) FROM relations
"""


def test_each_table_is_described_once_with_its_partitions_indexes_and_toast(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme", seed=processes.seed)
    tenancy.create("beta", seed=processes.seed)
    with engine.begin() as connection:
        connection.exec_driver_sql(_TABLES.replace("%", "%%"))
    found = describe(tenancy, "acme", count=True)
    assert {each.name: each.rows for each in found.tables} == {
        NAME: 30,
        "parted": 100,
        "counted": 100,
        "never_counted": 0,
        "bare": 0,
        "project": 1,
        "task": 2,
    }
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        assert found.size == connection.execute(text(_ON_DISK)).scalar_one()
    assert found.tables[0].name == NAME
    estimated = describe(tenancy, "acme")
    assert estimated.tables == found.tables
    assert (found.is_exact, estimated.is_exact) == (True, False)
    assert found.revision is None
    assert describe(tenancy, "beta", count=True).rows == 3


def test_tables_that_cannot_be_read_are_a_problem_and_no_error(
    tenancy: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.limits.POLITE", Limits("20ms"))
    tenant = tenancy.create("acme")
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE t_acme.task IN ACCESS EXCLUSIVE MODE"))
        found = describe(tenancy, "acme")
        assert (found.tenant, found.tables, found.revision) == (tenant, (), None)
        assert found.problem == "a transaction has locked its tables; try again later"
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA t_acme CASCADE"))
    assert (describe(tenancy, "acme").tables, describe(tenancy, "acme").problem) == ((), None)
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET database = 'asia'"))
    assert "asia" in (describe(tenancy, "acme").problem or "")


def test_a_key_that_nobody_has_had_is_not_found(tenancy: Tenancy) -> None:
    for key in ("acme", "No key", "a\0b", str(uuid4())):
        with pytest.raises(TenantNotFoundError):
            describe(tenancy, key)
