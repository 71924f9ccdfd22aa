"""The proposed division of an application's tables."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Sequence, String, Table, Text, Uuid, text

from tenantkit.adoption import propose


def sides(metadata: MetaData) -> dict[str, str]:
    return {each.table: each.side for each in propose(metadata)}


def refer(metadata: MetaData, name: str, *targets: str, key: Column[Any] | None = None) -> Table:
    columns: list[Column[Any]] = [Column(f"to_{target}".replace(".", "_"), ForeignKey(target)) for target in targets]
    return Table(name, metadata, Column("id", Integer, primary_key=True) if key is None else key, *columns)


def test_tables_of_codes_that_others_refer_to_are_proposed_as_shared() -> None:
    metadata = MetaData()
    Table("currency", metadata, Column("code", Text, primary_key=True), schema="lists")
    refer(metadata, "country", "lists.currency.code", key=Column("code", String(2), primary_key=True))
    refer(metadata, "customer", "country.code")
    refer(metadata, "invoice", "customer.id", "lists.currency.code")
    found = propose(metadata)
    assert [(each.table, each.side) for each in found] == [
        ("country", "shared"), ("lists.currency", "shared"), ("customer", "tenant"), ("invoice", "tenant"),
    ]  # fmt: skip
    assert "customer refer to it, and its key is a code" in found[0].reason
    assert found[3].reason == "it refers to customer"


def test_a_table_of_codes_that_refers_to_a_tenants_table_is_the_tenants() -> None:
    metadata = MetaData()
    refer(metadata, "customer")
    refer(metadata, "tag", "customer.id", key=Column("code", Text, primary_key=True))
    refer(metadata, "label", "tag.code", key=Column("code", Text, primary_key=True))
    refer(metadata, "task", "label.code")
    assert set(sides(metadata).values()) == {"tenant"}


@pytest.mark.parametrize(
    "key",
    [
        Column("id", Integer, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("id", Text, primary_key=True, default="x"),
        Column("id", Text, primary_key=True, server_default=text("gen_random_uuid()")),
        Column("id", Integer, Sequence("numbers"), primary_key=True),
    ],
)
def test_a_table_with_generated_keys_is_the_tenants_and_one_without_users_too(key: Column[Any]) -> None:
    metadata = MetaData()
    refer(metadata, "kind", key=key._copy())
    refer(metadata, "task", "kind.id")
    Table("setting", metadata, Column("name", Text, primary_key=True))
    assert sides(metadata) == {"kind": "tenant", "setting": "tenant", "task": "tenant"}
    assert all("shared instead, if all tenants" in each.reason for each in propose(metadata) if each.table != "task")
