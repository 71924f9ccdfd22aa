"""Boolean is a type without a name, with a CHECK constraint that PostgreSQL does not need."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, MetaData, Table

from tenantkit.tables import classify


def test_a_tenant_table_may_have_boolean_columns() -> None:
    metadata = MetaData(schema="tenant")
    table = Table("task", metadata, Column("id", Integer, primary_key=True), Column("done", Boolean))

    assert classify(shared=None, tenant=metadata, placeholder="tenant").tenant == (table,)
