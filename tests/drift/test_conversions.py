"""For each pair of types, a script that changes the type of a column keeps its values."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress

import pytest
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DataError

from tenantkit.drift.catalog.reader import detail_of
from tenantkit.drift.compare import compare
from tenantkit.drift.repair.script import write_repair

TEXTS = ("text", "varchar", "varchar(4)", "varchar(9)", "char(4)", "char(9)", "short", "anything")
FAMILIES = {
    "numbers": (
        ("smallint", "integer", "bigint", "numeric", "numeric(6,2)", "numeric(9,4)", "real", "double precision"),
        ("1234.5678901234567", "16777217", "1.6", "40000", "3000000000", "-1"),
    ),
    "texts": (TEXTS, ("abc     ", "abcdef", "abcdef     ", "x" * 100, "abc", "")),
    "times": (
        ("date", "timestamp", "timestamp(0)", "timestamptz", "timestamptz(3)"),
        ("2026-01-01 23:59:59.123456+05", "2026-07-01 10:00", "2026-01-01"),
    ),
    "documents": (("json", "jsonb"), ('{"a": 1, "a": 2}', "[1,  2]")),
}
"""Types with assignment casts between them and to text, and values of some of them."""

WIDER = {
    "smallint": {"integer", "bigint", "numeric"},
    "integer": {"bigint", "numeric"},
    "bigint": {"numeric"},
    "numeric(6,2)": {"numeric"},
    "numeric(9,4)": {"numeric"},
    "text": {"varchar"},
    "varchar": {"text"},
    "varchar(4)": {"varchar(9)", "varchar", "text"},
    "varchar(9)": {"varchar", "text"},
}
"""For each type, the types to which a script changes it."""


@pytest.fixture
def connection(make_database: Callable[..., URL]) -> Generator[Connection]:
    engine = create_engine(make_database())
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("suffix", ["", pytest.param("[]", marks=pytest.mark.all_cases)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_script_changes_a_type_only_if_all_values_are_kept(
    family: str, suffix: str, connection: Connection, all_cases: bool
) -> None:
    types, values = FAMILIES[family]
    pairs = [(wanted, there) for there in types for wanted in dict.fromkeys((*types, *TEXTS)) if wanted != there]
    for place, schema in enumerate(("wanted", "there")):
        tables = (f"CREATE TABLE t{number} (v {pair[place]}{suffix})" for number, pair in enumerate(pairs))
        connection.exec_driver_sql(
            f"CREATE SCHEMA {schema}; SET search_path = {schema}; CREATE DOMAIN short AS varchar(3);"
            f"CREATE DOMAIN anything AS text; {'; '.join(tables)}"
        )
    connection.commit()
    expected, found = (detail_of(connection, schema) for schema in ("wanted", "there"))
    differences = compare(expected.shape, found.shape)
    assert len(differences) == len(pairs)
    for difference in differences:
        connection.rollback()
        script = write_repair(expected, found, (difference,)).script("there")
        table = difference.key.table or ""
        wanted, there = pairs[int(table[1:])]
        is_changed = not suffix and wanted in WIDER.get(there, ())
        assert ("-- By hand: " not in script) == is_changed, script
        for value in values if all_cases else values[:2]:
            written = f"ARRAY['{value}']::{there}[]" if suffix else f"'{value}'"
            before, after = converted(connection, script, f"there.{table}", written)
            assert before == after, script


def converted(connection: Connection, script: str, table: str, value: str) -> tuple[str | None, str | None]:
    """Return a column's value, as text, before and after a script; after an error, the second is ``None``."""
    select, found = f"SELECT v::text FROM {table}", list[str | None]()
    with suppress(DataError):  # not all values are of the type
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({value})")
        found.append(connection.exec_driver_sql(select).scalar_one())
        connection.exec_driver_sql(script.removesuffix("COMMIT;\n"))
        found.append(connection.exec_driver_sql(select).scalar_one())
    connection.rollback()
    before, after = [*found, None, None][:2]
    return before, after
