"""The physical form of tenant tables: what the models declare, led by the tenant column, under the same names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    create_engine,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from tenantkit import ConfigurationError
from tenantkit.isolation.row.physical import physical_table
from tenantkit.isolation.row.policies import security_functions
from tenantkit.isolation.row.writing import writing_physical_form
from tenantkit.isolation.tenant_column import TenantColumn
from tests.isolation.row.generated import metadata

TENANT = TenantColumn()


@pytest.fixture(scope="module")
def engine(make_template: Callable[..., URL]) -> Generator[Engine]:
    engine = create_engine(make_template())
    yield engine
    engine.dispose()


_CONSTRAINTS = """
SELECT relname, conname, contype::text, confdeltype::text, confupdtype::text, condeferrable,
    (SELECT array_agg(attname ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS keys (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
    (SELECT array_agg(attname ORDER BY place) FROM unnest(confkey) WITH ORDINALITY AS keys (number, place)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number),
    (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(confdelsetcols))
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = to_regnamespace(%s) AND contype <> 'n' ORDER BY 1, 2
"""
_INDEXES = """
SELECT relname, indisunique, indkey[0] = attnum, pg_get_expr(indpred, indrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
LEFT JOIN pg_attribute ON attrelid = indrelid AND attname = 'tenant_id'
WHERE relnamespace = to_regnamespace(%s) ORDER BY 1
"""


@given(made=metadata())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_server_has_the_declared_tables_led_by_the_tenant(engine: Engine, made: MetaData) -> None:
    with engine.connect() as connection, connection.begin() as transaction, warnings.catch_warnings():
        warnings.simplefilter("error")
        for schema in ("one", "rows"):
            connection.execute(CreateSchema(schema))
        for each in security_functions("rows"):
            connection.exec_driver_sql(each)
        made.create_all(connection.execution_options(schema_translate_map={"tenant": "one"}), checkfirst=False)
        connection.execution_options(schema_translate_map={"tenant": "rows"})
        with writing_physical_form(connection, TENANT, placeholder="tenant", schema="rows"):
            made.create_all(connection, checkfirst=False)
        declared, physical = (connection.exec_driver_sql(_CONSTRAINTS, (each,)).all() for each in ("one", "rows"))
        assert [_without_tenant(row) for row in physical] == [tuple(row) for row in declared]
        for row in physical:
            assert row[2] == "c" or row[6][0] == "tenant_id"
        declared, physical = (connection.exec_driver_sql(_INDEXES, (each,)).all() for each in ("one", "rows"))
        assert [(*row[:2], row[3]) for row in physical] == [(*row[:2], row[3]) for row in declared]
        assert all(row[2] for row in physical)
        secured = "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relkind = 'r' AND relnamespace = 'rows'::regnamespace"
        assert {tuple(row) for row in connection.exec_driver_sql(secured)} == {
            (table.name, True, True) for table in made.tables.values()
        }
        transaction.rollback()


def _without_tenant(row: Any) -> tuple[Any, ...]:
    """Return a constraint of the physical form as it would be without the tenant column."""
    local, target = (keys and [key for key in keys if key != "tenant_id"] for keys in row[6:8])
    changed = row[8]
    if changed is not None:
        assert changed == local  # ON DELETE SET NULL leaves the tenant
    return (*row[:6], local, target, None)


def _table(*columns: Any, name: str = "invoice", metadata: MetaData | None = None) -> Table:
    return Table(name, metadata or MetaData(schema="tenant"), *columns)


def _keys(table: Table) -> dict[str, list[str]]:
    return {
        str(each.name): [column.name for column in each.columns]
        for each in table.constraints
        if isinstance(each, UniqueConstraint) or each is table.primary_key
    }


def test_the_tenant_column_is_the_last_one_and_the_database_fills_it() -> None:
    table = physical_table(_table(Column("id", Integer, primary_key=True), Column("code", String)), TENANT)
    assert list(table.columns.keys()) == ["id", "code", "tenant_id"]
    column = table.columns["tenant_id"]
    assert (column.nullable, str(column.type)) == (False, "BIGINT")
    assert "current_setting('tenantkit.tenant', true)" in str(column.server_default.arg)  # type: ignore[union-attr]


def test_the_declared_table_stays_as_it_is() -> None:
    declared = _table(Column("id", Integer, primary_key=True), Column("up", ForeignKey("tenant.invoice.id")))
    physical_table(declared, TENANT)
    assert list(declared.columns.keys()) == ["id", "up"]
    assert {type(each) for each in declared.constraints} == {type(declared.primary_key), ForeignKeyConstraint}


def test_keys_to_shared_tables_stay_as_they_are() -> None:
    made = MetaData(schema="tenant")
    Table("plan", made, Column("name", String, primary_key=True), schema="shared")
    table = physical_table(
        _table(Column("id", Integer, primary_key=True), Column("plan", ForeignKey("shared.plan.name")), metadata=made),
        TENANT,
    )
    (key,) = table.foreign_key_constraints
    assert (list(key.column_keys), key.referred_table.fullname) == (["plan"], "shared.plan")


ID = Column("id", Integer, primary_key=True)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([Column("n", Integer), ExcludeConstraint(("n", "="))], "does not support a ExcludeConstraint yet"),
        ([Column("up", ForeignKey("tenant.invoice.id", onupdate="SET NULL"))], "would change the tenant of a row"),
        (
            [
                Column("a", Integer),
                Column("b", Integer),
                UniqueConstraint("a", "b"),
                ForeignKeyConstraint(["a", "b"], ["tenant.invoice.a", "tenant.invoice.b"], match="FULL"),
            ],
            "MATCH FULL",
        ),
    ],
)
def test_what_would_mean_something_else_is_refused(items: list[Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        physical_table(_table(ID._copy(), *items), TENANT)


@pytest.mark.parametrize("key", [Integer, Uuid])
@pytest.mark.parametrize("is_key", [False, True])
@pytest.mark.parametrize("type_", [BigInteger, String])
@pytest.mark.parametrize("names", [("tenant_id", "tenant_id"), ("tenant_id", "renter"), ("renter", "tenant_id")])
def test_a_column_of_the_application_with_the_name_of_the_tenants_is_refused(
    key: Any, is_key: bool, type_: Any, names: tuple[str, str]
) -> None:
    name, attribute = names
    table = _table(Column("id", key, primary_key=True), Column(name, type_, key=attribute, primary_key=is_key))
    with pytest.raises(ConfigurationError, match=r"tenant\.invoice declares a column 'tenant_id'"):
        physical_table(table, TENANT)


@pytest.mark.parametrize("method", ["gin", "hash", "brin", "btree", None])
def test_only_ordered_indexes_begin_with_the_tenant(method: str | None) -> None:
    table = _table(ID._copy(), Column("code", String))
    Index("ix", table.columns["code"], postgresql_using=method)
    (index,) = physical_table(table, TENANT).indexes
    assert len(index.expressions) == (2 if method in {None, "btree"} else 1)


@pytest.mark.parametrize(("key", "value"), [(Integer, 1), (Uuid, uuid4())])
def test_two_tenants_have_the_same_keys_and_neither_refers_to_the_other(
    engine: Engine, key: Any, value: int | UUID
) -> None:
    made = MetaData(schema="tenant")
    account = _table(Column("id", key, primary_key=True), name="account", metadata=made)
    invoice = _table(
        Column("id", key, primary_key=True),
        Column("code", String, unique=True),
        Column("account_id", ForeignKey("tenant.account.id", ondelete="SET NULL")),
        metadata=made,
    )
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(CreateSchema("rows"))
        for each in security_functions("rows"):
            connection.exec_driver_sql(each)
        connection.execution_options(schema_translate_map={"tenant": "rows"})
        with writing_physical_form(connection, TENANT, placeholder="tenant", schema="rows"):
            made.create_all(connection, checkfirst=False)
        for each in made.tables:  # there is no registry
            connection.exec_driver_sql(f"ALTER TABLE {each.replace('tenant.', 'rows.')} DISABLE TRIGGER tenantkit")
        for number in (1, 2):
            connection.exec_driver_sql(f"SET LOCAL tenantkit.tenant TO {number}")
            connection.execute(account.insert().values(id=value))
            connection.execute(invoice.insert().values(id=value, code="x", account_id=value))
        connection.exec_driver_sql("DELETE FROM rows.account WHERE tenant_id = 2")
        rows = connection.exec_driver_sql("SELECT tenant_id, account_id FROM rows.invoice ORDER BY 1").all()
        assert [tuple(row) for row in rows] == [(1, value), (2, None)]
        with pytest.raises(IntegrityError, match="invoice_account_id_fkey"):  # the other tenant's account
            connection.execute(invoice.update().where(text("tenant_id = 2")).values(account_id=value))
        transaction.rollback()
