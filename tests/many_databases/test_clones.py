"""Clones from one database to another."""

from __future__ import annotations

from sqlalchemy import select

from tenantkit import Tenancy, transfer
from tests.isolation.two_databases import Note


def test_a_clone_may_be_in_another_database_than_its_tenant(pair: Tenancy) -> None:
    for key, copy, given, database in (
        ("acme", "a1", None, "main"),
        ("acme", "a2", "eu", "eu"),
        ("berta", "b1", None, "eu"),
        ("berta", "b2", "main", "main"),
    ):
        cloned = transfer.clone(pair, key, as_=copy, database=given)
        assert cloned.tenant.placement.database == database
        for each in (key, copy):
            with pair.session(each) as session:
                assert session.scalars(select(Note.text)).all() == [key]
