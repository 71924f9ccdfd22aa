"""The SQL of a check can be applied, precedes each loss with a remark, and grants no further privileges."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import URL, create_engine

from tenantkit import Tenancy
from tenantkit.postgres.quoting import quote_identifier
from tests.drift.conftest import KEYS, Fleet, in_schema, plain, run_script
from tests.drift.test_round_trip import BROKEN
from tests.support.dumps import Entry, dump
from tests.support.generated import examples
from tests.support.models import APPLICATION

DECORATED = Path(__file__).with_name("decorated.sql").read_text()

IN_ARRAYS = "ALTER DOMAIN amount DROP CONSTRAINT amount_positive; ALTER TABLE bookings ADD COLUMN fees amount[]"
TO_PARTITIONED = """
    CREATE TABLE logs (a integer PRIMARY KEY) PARTITION BY HASH (a);
    CREATE TABLE logs_0 PARTITION OF logs FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    ALTER TABLE lines ADD COLUMN log integer REFERENCES logs
"""
INHERITED = "ALTER TABLE base ADD COLUMN below text DEFAULT 'x'; ALTER TABLE events ADD COLUMN size integer"
DEVIATIONS = (
    [IN_ARRAYS, TO_PARTITIONED, INHERITED]
    + [sql for sql, *_ in BROKEN.values()]
    + [each.strip() for each in Path(__file__).with_name("deviations.sql").read_text().split("\n---\n")]
)
"""Changes of a tenant by hand."""


@pytest.fixture(scope="module")
def decorated_template(make_template: Callable[..., URL], fleet_template: str) -> str:
    """A database with the tenants, whose objects have privileges, owners, comments and rules."""
    url = make_template(fleet_template)
    for key in KEYS:
        schema = f"t_{key}"
        run_script(url, in_schema(schema, DECORATED.replace("$SCHEMA", quote_identifier(schema))))
    assert url.database
    return url.database


@contextmanager
def copied(make: Callable[..., URL], template: str) -> Generator[Fleet]:
    """Yield the tenants in a database of their own, which is dropped afterwards."""
    url = make(template)
    fleet = Fleet(Tenancy(url, listen=False, **APPLICATION), url, create_engine(url))
    try:
        yield fleet
    finally:
        fleet.tenancy.close()
        fleet.engine.dispose()
    with psycopg.connect(plain(url.set(database="postgres")), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.database}".encode())


@dataclass
class Copy:
    """The content of a tenant at one moment."""

    entries: list[Entry]
    rows: dict[str, dict[str, list[str | None]]]
    """The values of each column, by table: as text, in the order in which rows were inserted."""

    def attached(self) -> set[Entry]:
        return {entry for entry in self.entries if entry.is_attached}

    def closed(self) -> set[str]:
        """Return the functions and types that PUBLIC may not use."""
        return {entry.name for entry in self.entries if entry.type == "ACL" and " FROM PUBLIC" in entry.text}

    def owners(self) -> dict[tuple[str, str], str]:
        return {(entry.type, entry.name): entry.owner for entry in self.entries if not entry.is_attached}


def copy(fleet: Fleet, key: str) -> Copy:
    columns: dict[str, dict[str, list[str | None]]] = {}
    for table, column in fleet.rows(
        key,
        "SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attnum > 0 "
        f"AND NOT attisdropped AND relkind = 'r' AND relnamespace = 't_{key}'::regnamespace",
    ):
        values = fleet.rows(key, f'SELECT "{column}"::text FROM "{table}" ORDER BY ctid')
        columns.setdefault(table, {})[column] = sorted((value for (value,) in values), key=str)
    return Copy(dump(fleet.url, f"t_{key}"), columns)


def remarks_of(script: str) -> str:
    """Return the remarks in front of statements, without repairs that are left to an operator."""
    lines = [line for line in script.splitlines() if line.startswith("-- ") and not line.startswith("--   ")]
    return "\n".join(line for line in lines if not line.startswith("-- By hand: "))


def named(entry: Entry, remarks: str) -> bool:
    """Return whether a remark names the object of an entry."""
    words = [word for word in re.split(r'[\s."]+', entry.name) if word.upper() != word]
    return any(word.split("(")[0] in remarks for word in words)


@pytest.mark.all_cases
@example(chosen=[IN_ARRAYS])
@example(chosen=[TO_PARTITIONED])
@example(chosen=[INHERITED])
@examples(2, 12)
@given(chosen=st.lists(st.sampled_from(DEVIATIONS), min_size=1, max_size=4, unique=True))
def test_a_script_loses_nothing_without_a_remark(
    make_template: Callable[..., URL], decorated_template: str, chosen: list[str]
) -> None:
    with copied(make_template, decorated_template) as fleet:
        original = copy(fleet, "acme")
        for deviation in chosen:
            with suppress(psycopg.Error):
                fleet.run("acme", deviation)
        before, report = copy(fleet, "acme"), fleet.check()
        for odd in report.odd:
            script = odd.script("acme")
            try:
                run_script(fleet.url, script)
            except psycopg.errors.IntegrityError:
                continue  # rows do not fit, and nothing is changed
            after, left = copy(fleet, "acme"), fleet.words()
            assert bool(left) == ("-- By hand: " in script), script
            words = "\n".join(map(str, odd.differences))
            assert_no_right_is_lost_or_new(original, before, after, words, script)
            assert_no_row_is_lost(before, after, script)
            assert left or missing(original, before, after, script) == [], script


def assert_no_right_is_lost_or_new(original: Copy, before: Copy, after: Copy, words: str, script: str) -> None:
    for entry in before.attached() - after.attached():
        is_meant = "comment is" in words or "should be named" in words
        assert named(entry, remarks_of(script)) or is_meant, (entry, script)
    for entry in after.attached() - before.attached():
        assert entry.type != "ACL" or (" FROM PUBLIC" in entry.text and "GRANT" not in entry.text), (entry, script)
    for type_, name in after.owners().keys() - before.owners().keys():
        assert f"{type_} {name}" not in original.closed() or f"{type_} {name}" in after.closed(), (name, script)
    for thing, owner in before.owners().items():
        assert after.owners().get(thing, owner) == owner, (thing, script)


def assert_no_row_is_lost(before: Copy, after: Copy, script: str) -> None:
    remarks = remarks_of(script)
    for table, columns in before.rows.items():
        there = after.rows.get(table)
        assert there is not None or f"Lost: table {table}, its rows" in remarks, script
        for column, values in columns.items():
            if there is None:
                continue
            if column not in there:
                lost = re.findall(rf"Lost: column {re.escape(column)} of (.*), and all that belongs to it", remarks)
                assert table in re.split(r", its values, also in |, its values|, ", " ".join(lost)), script
            else:
                assert values == there[column], script


def missing(original: Copy, before: Copy, after: Copy, script: str) -> list[Entry]:
    """Return the entries of the first pg_dump of the tenant that the second lacks, although the script could keep them."""
    wanted = {compared(entry) for entry in original.entries if not entry.is_attached or entry in before.entries}
    lost = wanted - {compared(entry) for entry in after.entries}
    return [
        entry
        for entry in lost
        if not (entry.is_attached and named(entry, remarks_of(script))) and "INHERITS" not in entry.text
    ]


_NOT_COMPARED = re.compile(r" (?:OWNER TO|CLUSTER ON|SET STORAGE|SET COMPRESSION|SET STATISTICS|SET \(pg_attver=\d+\))")
"""The last one is an option that some builds of PostgreSQL set for each column."""


def compared(entry: Entry) -> Entry:
    """Return an entry without the properties that a script cannot reproduce."""
    lines = [line for line in entry.text.splitlines() if not _NOT_COMPARED.search(line)]
    return replace(entry, owner="", text=re.sub(r" WITH \(fillfactor='\d+'\)", "", "\n".join(lines)))
