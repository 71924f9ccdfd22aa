"""A server whose memory for locks is full, as by many sign-ups at once."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from threading import Timer

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, text
from sqlalchemy.exc import OperationalError

from tenantkit import ProvisioningError, Tenancy
from tests.support.servers import embedded_server

TABLES = MetaData(schema="tenant")
for each in range(20):
    Table(f"task_{each}", TABLES, Column("id", Integer, primary_key=True))


def _fill(connection: Connection) -> None:
    """Take locks until there is room for some reads, but not for 20 new tables, and keep them."""
    number = count(1)
    for at_once in (200, 20):
        with pytest.raises(OperationalError, match="out of shared memory"):
            while True:
                with connection.begin_nested():
                    for _ in range(at_once):
                        lock = text("SELECT pg_advisory_xact_lock(1, :number)")
                        connection.execute(lock, {"number": next(number)})


@pytest.mark.all_cases
def test_a_creation_waits_for_room_in_the_lock_table_and_then_says_what_to_do() -> None:
    with embedded_server() as url:
        engine = create_engine(url)
        with closing(Tenancy(url, tenant=TABLES, listen=False)) as tenancy:
            tenancy.install()
            with engine.connect() as other:
                _fill(other)
                with pytest.raises(
                    ProvisioningError, match=r"raise the server's max_locks_per_transaction, or do less"
                ):
                    tenancy.create("acme")
                release = Timer(0.5, other.rollback)
                release.start()
                assert tenancy.create("acme").status == "active"
                release.join()
        engine.dispose()
