"""Properties of indexes that are not compared, and those that repairs must keep."""

from __future__ import annotations

import pytest

from tests.drift.conftest import Fleet

PARAMETERS = {
    "btree": "fillfactor = 40, deduplicate_items = off",
    "gin": "fastupdate = off, gin_pending_list_limit = 128",
    "gist": "buffering = on, fillfactor = 40",
    "brin": "pages_per_range = 4, autosummarize = on",
    "hash": "fillfactor = 40",
    "spgist": "fillfactor = 40",
}
"""Storage parameters, by access method."""


def set_parameters(fleet: Fleet, key: str) -> list[str]:
    """Set storage parameters of each index of a tenant, and return the names of the indexes."""
    indexes = fleet.rows(
        key,
        "SELECT quote_ident(relname), amname FROM pg_class JOIN pg_am ON pg_am.oid = relam "
        f"WHERE relkind = 'i' AND relnamespace = 't_{key}'::regnamespace",
    )
    fleet.run(key, ";".join(f"ALTER INDEX {name} SET ({PARAMETERS[method]})" for name, method in indexes))
    return [name for name, _ in indexes]


def test_storage_parameters_of_indexes_are_not_compared(fleet: Fleet) -> None:
    fleet.everywhere(
        """
        CREATE INDEX plain_brin ON lines USING brin (place);
        CREATE INDEX some_brin ON lines USING brin (place) WHERE price IS NULL;
        CREATE INDEX some_hash ON lines USING hash (lower(code));
        CREATE INDEX some_spgist ON lines USING spgist (lower(code))
        """
    )
    assert len(set_parameters(fleet, "acme")) > 20
    assert fleet.words() == {}


def test_lost_storage_parameters_of_an_index_are_named(fleet: Fleet) -> None:
    fleet.run("acme", "DROP INDEX ix_invoices_open; CREATE INDEX ix_invoices_open ON invoices (lower(number))")
    set_parameters(fleet, "acme")
    script = fleet.repair(fleet.check())
    assert "-- Lost with index ix_invoices_open on invoices: its storage parameters.\nDROP INDEX" in script
    assert fleet.words() == {}


KEYS = {
    "unique index": ("CREATE UNIQUE INDEX k ON t ({})", "DROP INDEX k", "ALTER INDEX k RENAME TO other"),
    **{
        kind.lower(): (
            f"ALTER TABLE t ADD CONSTRAINT k {kind} ({{}})",
            "ALTER TABLE t DROP CONSTRAINT k",
            "ALTER TABLE t RENAME CONSTRAINT k TO other",
        )
        for kind in ("UNIQUE", "PRIMARY KEY")
    },
}
"""Statements that create, drop and rename an index that identifies rows."""

IDENTIFY = "ALTER TABLE t REPLICA IDENTITY USING INDEX k"

DEVIATIONS = {
    "missing": "{drop}",
    "other columns": "{drop}; {other}",
    "other columns that identify rows": "{drop}; {other}; " + IDENTIFY,
    "other name": "{rename}",
    "other identity": "ALTER TABLE t REPLICA IDENTITY FULL",
    "other index": "CREATE UNIQUE INDEX l ON t (b); ALTER TABLE t REPLICA IDENTITY USING INDEX l",
    "no identity": "ALTER TABLE t REPLICA IDENTITY DEFAULT",
    "table missing": "DROP TABLE t",
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("kind", KEYS)
def test_a_repaired_table_identifies_its_rows_as_before(fleet: Fleet, kind: str, deviation: str) -> None:
    create, drop, rename = KEYS[kind]
    fleet.everywhere(f"CREATE TABLE t (a int NOT NULL, b int NOT NULL); {create.format('a')}; {IDENTIFY}")
    fleet.run("acme", DEVIATIONS[deviation].format(drop=drop, other=create.format("a, b"), rename=rename))
    report = fleet.check()
    assert report.has_drift
    fleet.repair(report)
    assert fleet.words() == {}
    identity = (
        "SELECT indexrelid::regclass::text, indnatts FROM pg_index WHERE indrelid = 't'::regclass AND indisreplident"
    )
    assert fleet.rows("acme", identity) == [("k", 1)]
    assert fleet.rows("acme", "SELECT relreplident FROM pg_class WHERE oid = 't'::regclass") in ([("i",)], [(b"i",)])
