"""Boolean is a type with a CHECK constraint, which PostgreSQL does not need, and without a name."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, MetaData, Table

from tenantkit.tables import classify


def test_a_tenant_table_may_have_boolean_columns() -> None:
    metadata = MetaData(schema="tenant")
    table = Table("task", metadata, Column("id", Integer, primary_key=True), Column("done", Boolean))

    assert classify(shared=None, tenant=metadata, placeholder="tenant").tenant == (table,)
