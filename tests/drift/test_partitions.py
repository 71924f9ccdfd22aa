"""A tenant's own partitions are no drift; those that others have too are compared."""

from __future__ import annotations

import pytest

from tests.drift.conftest import Fleet

OWN = {
    "one more": "CREATE TABLE events_2027 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
    "one less": "DROP TABLE events_2026",
    "attached": """
        CREATE TABLE events_x (LIKE events INCLUDING ALL);
        ALTER TABLE events ATTACH PARTITION events_x FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')
    """,
    "with partitions, indexes and checks of its own": """
        CREATE TABLE events_2027 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2029-01-01')
            PARTITION BY RANGE (at);
        CREATE TABLE events_2027_a PARTITION OF events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        CREATE INDEX ix_own ON events_2027 (kind);
        ALTER TABLE events_2027_a ADD CONSTRAINT ck_own CHECK (kind <> '')
    """,
}


@pytest.mark.parametrize("name", OWN)
def test_a_partition_that_one_tenant_has_is_no_drift(fleet: Fleet, name: str) -> None:
    fleet.run("acme", OWN[name])
    report = fleet.check()
    assert not report.has_drift
    assert [(group.tenants, group.alike) for group in report.groups] == [(3, 3)]


def test_other_differences_are_named_beside_partitions(fleet: Fleet) -> None:
    fleet.run("acme", f"{OWN['one more']}; ALTER TABLE events ADD COLUMN spare int")
    fleet.run("beta", OWN["one less"])
    assert {key: [str(each) for each in words] for key, words in fleet.words().items()} == {
        "acme": ["column events.spare should not be there"]
    }


def test_partitions_of_a_missing_table_are_named(fleet: Fleet) -> None:
    fleet.run("acme", "DROP TABLE events")
    assert "table events_2026 is missing" in fleet.words()["acme"]
