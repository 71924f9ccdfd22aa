"""An export has all rows of its tenant, in files that other programs read."""

from __future__ import annotations

import csv
import json
import stat
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from tenantkit import BackupError, ConfigurationError, Tenancy, TenantNotFoundError, TenantUnavailableError, transfer
from tenantkit.usage import describe
from tests.support.generated import examples
from tests.transfer.test_damaged_files import limited

parquet = pytest.importorskip("pyarrow.parquet")

KINDS = """
CREATE TYPE {schema}.mood AS ENUM ('good', 'bad');
CREATE DOMAIN {schema}.price AS numeric(10, 2);
CREATE TABLE {schema}.kinds (
    id int PRIMARY KEY, flag boolean, small smallint, big bigint, ratio double precision, price {schema}.price,
    amount numeric, day date, at timestamp(3), moment timestamptz, raw bytea, mood {schema}.mood, note text,
    many int[], doc jsonb, twice int GENERATED ALWAYS AS (small * 2) STORED
);
INSERT INTO {schema}.kinds VALUES
    (1, true, 7, 9007199254740993, 0.1, 12.50, 1.10, '2026-03-01', '2026-03-01 12:00:00.123', '2026-03-01 12:00+02',
     '\\x00ff', 'good', E'two\\nlines, "quoted"', '{{1,NULL}}', '{{"a": 1}}'),
    (2, false, NULL, -1, 'NaN', NULL, 'NaN', '0001-01-01', NULL, NULL, '', 'bad', '', '{{}}', NULL);
INSERT INTO {schema}.kinds (id, ratio) VALUES (3, '-Infinity');
CREATE TABLE {schema}.odd (id int, price numeric(6, 2), day date, at timestamptz);
INSERT INTO {schema}.odd VALUES (1, 'NaN', '2026-01-01', '4713-01-01 BC'), (2, 1.5, 'infinity', '2026-01-01');
CREATE TABLE {schema}."../Wörter & Co" (word text);
INSERT INTO {schema}."../Wörter & Co" VALUES (NULL), (''), ('NULL'), ('\\.');
CREATE TABLE {schema}.nothing ();
INSERT INTO {schema}.nothing DEFAULT VALUES;
CREATE TABLE {schema}.parted (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE {schema}.parted_old PARTITION OF {schema}.parted FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE {schema}.parted_new PARTITION OF {schema}.parted FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
INSERT INTO {schema}.parted VALUES ('2025-05-05', 1), ('2026-06-06', 2);
CREATE TABLE {schema}.heir (more int) INHERITS ({schema}.parent);
INSERT INTO {schema}.parent VALUES (1);
INSERT INTO {schema}.heir VALUES (2, 3);
CREATE VIEW {schema}.seen AS SELECT * FROM {schema}.parent;
""".replace("CREATE TABLE {schema}.heir", "CREATE TABLE {schema}.parent (n int);\nCREATE TABLE {schema}.heir")
ODD_NAME = "../Wörter & Co"
ODD_FILE = "..%2FW%C3%B6rter %26 Co"


@pytest.fixture
def acme(tenancy: Tenancy, engine: Engine) -> Tenancy:
    """A tenancy with a tenant that has every kind of table and value, and a neighbour."""
    for key in ("acme", "berta"):
        schema = tenancy.create(key).schema
        with engine.begin() as connection:
            connection.exec_driver_sql(KINDS.format(schema=f'"{schema}"').replace("%", "%%"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE t_berta.kinds SET note = 'of berta'"))
    return tenancy


def contents(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "export.json").read_text())
    return {each["table"]: each for each in found["tables"]}


def rows_of(folder: Path, file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(folder / file).to_pylist()
    return rows


def test_csv_loads_into_the_same_tables_again(acme: Tenancy, engine: Engine, tmp_path: Path) -> None:
    made = transfer.export(acme, "acme", tmp_path / "out")

    assert made.tables == {
        "kinds": 3, "odd": 2, ODD_NAME: 4, "nothing": 1, "parted": 2, "parent": 1, "heir": 1, "project": 0, "task": 0
    }  # fmt: skip
    found = contents(made.path)
    assert {each["file"] for each in found.values()} | {"export.json"} == {file.name for file in made.path.iterdir()}
    assert found[ODD_NAME]["file"] == f"{ODD_FILE}.csv"
    assert found["kinds"]["columns"][-1] == {"name": "twice", "type": "integer"}
    assert made.size == sum(file.stat().st_size for file in made.path.iterdir())
    schema = acme.create("copy").schema
    with engine.begin() as connection:
        connection.exec_driver_sql(KINDS.format(schema=f'"{schema}"').replace("%", "%%"))
        raw: Any = connection.connection.driver_connection
        for table, each in found.items():
            columns = ", ".join(f'"{column["name"]}"' for column in each["columns"] if column["name"] != "twice")
            if not columns:
                continue
            connection.exec_driver_sql(f'DELETE FROM {"ONLY" if table == "parent" else ""} "{schema}"."{table}"')
            lines = csv.DictReader(StringIO((made.path / each["file"]).read_text(), newline=""))
            assert lines.fieldnames == [column["name"] for column in each["columns"]]
            with raw.cursor() as cursor:
                whole = f'CREATE TEMPORARY TABLE loaded (LIKE "{schema}"."{table}") ON COMMIT DROP'
                cursor.execute(whole)
                with cursor.copy("COPY loaded FROM STDIN (FORMAT csv, HEADER)") as copy:
                    copy.write((made.path / each["file"]).read_bytes())
                cursor.execute(f'INSERT INTO "{schema}"."{table}" ({columns}) SELECT {columns} FROM loaded')
                cursor.execute("DROP TABLE loaded")
            one, other = (
                connection.execute(text(f'SELECT t::text FROM "{name}"."{table}" AS t ORDER BY 1')).scalars().all()
                for name in ("t_acme", schema)
            )
            assert one == other


def test_parquet_has_the_values_with_their_types(acme: Tenancy, tmp_path: Path) -> None:
    made = transfer.export(acme, "acme", tmp_path / "out", format="parquet")

    found = contents(made.path)
    one, two, three = rows_of(made.path, "kinds.parquet")
    assert one == {
        "id": 1, "flag": True, "small": 7, "big": 9007199254740993, "ratio": 0.1, "price": Decimal("12.50"),
        "amount": "1.10", "day": date(2026, 3, 1), "at": datetime(2026, 3, 1, 12, 0, 0, 123000),  # noqa: DTZ001 - as it was stored

        "moment": datetime(2026, 3, 1, 10, tzinfo=UTC), "raw": b"\x00\xff", "mood": "good",
        "note": 'two\nlines, "quoted"', "many": "{1,NULL}", "doc": '{"a": 1}', "twice": 14,
    }  # fmt: skip
    assert str(two.pop("ratio")) == "nan"
    assert two == {
        "id": 2, "flag": False, "small": None, "big": -1, "price": None, "amount": "NaN", "day": date(1, 1, 1),
        "at": None, "moment": None, "raw": b"", "mood": "bad", "note": "", "many": "{}", "doc": None, "twice": None,
    }  # fmt: skip
    assert three["ratio"] == float("-inf")
    assert rows_of(made.path, f"{ODD_FILE}.parquet") == [{"word": word} for word in (None, "", "NULL", "\\.")]
    assert rows_of(made.path, "odd.parquet") == [
        {"id": 1, "price": "NaN", "day": "2026-01-01", "at": "4713-01-01 00:00:00+00 BC"},
        {"id": 2, "price": "1.50", "day": "infinity", "at": "2026-01-01 00:00:00+00"},
    ]
    assert [column["stored_as"] for column in found["odd"]["columns"]] == ["int32", "string", "string", "string"]
    assert {each["n"] for each in rows_of(made.path, "parted.parquet")} == {1, 2}
    assert rows_of(made.path, "project.parquet") == []
    for table, each in found.items():
        if table != "nothing":
            assert parquet.read_metadata(made.path / each["file"]).num_rows == each["rows"]


COLUMNS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "i": ("bigint", st.integers(-(2**63), 2**63 - 1)),
    "n": ("numeric(12, 3)", st.decimals(-999_999_999, 999_999_999, places=3)),
    "t": ("text", st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    "b": ("bytea", st.binary()),
    "d": ("date", st.dates()),
    "at": ("timestamptz", st.datetimes(timezones=st.just(UTC))),
    "f": ("double precision", st.floats(allow_nan=False)),
    "y": ("boolean", st.booleans()),
}


@examples(10, 200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(st.fixed_dictionaries({name: values | st.none() for name, (_, values) in COLUMNS.items()})))
def test_any_values_are_read_from_parquet(
    rows: list[dict[str, Any]], tenancy: Tenancy, engine: Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        if not connection.execute(text("SELECT to_regclass('t_acme.any_row')")).scalar():
            tenancy.create("acme")
            columns = ", ".join(f"{name} {type_}" for name, (type_, _) in COLUMNS.items())
            connection.exec_driver_sql(f"CREATE TABLE t_acme.any_row (place serial, {columns})")
        connection.exec_driver_sql("TRUNCATE t_acme.any_row RESTART IDENTITY")
        names = ", ".join(COLUMNS)
        if rows:
            connection.execute(
                text(f"INSERT INTO t_acme.any_row ({names}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})"), rows
            )
    folder = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
    transfer.export(tenancy, "acme", folder, format="parquet")
    found = rows_of(folder, "any_row.parquet")
    assert [row.pop("place") for row in found] == [*range(1, len(rows) + 1)]
    assert found == rows


@pytest.mark.parametrize("chosen", ["csv", "parquet"])
def test_a_failure_leaves_nothing(chosen: Any, tenancy: Tenancy, engine: Engine, tmp_path: Path) -> None:
    tenancy.create("acme")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO t_acme.project SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 99) i")
        )
    with limited(2_000), pytest.raises(BackupError, match=r"out: it cannot be written: .*\. Nothing is left of it"):
        transfer.export(tenancy, "acme", tmp_path / "out", format=chosen)
    assert list(tmp_path.iterdir()) == []
    assert transfer.export(tenancy, "acme", tmp_path / "out", format=chosen).rows == 99


def test_what_cannot_be_exported_is_refused(
    tenancy: Tenancy, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    (tmp_path / "there").mkdir()
    with pytest.raises(BackupError, match=r"there: it exists already. Give another name, or remove it"):
        transfer.export(tenancy, "acme", tmp_path / "there")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupError, match="it exists already"):
        transfer.export(tenancy, "acme", tmp_path / "link")
    with pytest.raises(BackupError, match="cannot be written: No such file or directory"):
        transfer.export(tenancy, "acme", tmp_path / "no" / "where")
    with pytest.raises(TenantNotFoundError):
        transfer.export(tenancy, "nobody", tmp_path / "out")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'provisioning'"))
    tenancy.cache.clear()
    with pytest.raises(TenantUnavailableError):
        transfer.export(tenancy, "acme", tmp_path / "out")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'active'"))
        connection.execute(text("CREATE TABLE t_acme.held (file oid)"))
        connection.execute(text("INSERT INTO t_acme.held VALUES (lo_from_bytea(0, 'x'))"))
    with pytest.raises(BackupError, match=r"held.file has large objects"):
        transfer.export(tenancy, "acme", tmp_path / "out")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install tenantkit\[parquet\]"):
        transfer.export(tenancy, "acme", tmp_path / "out", format="parquet")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "link"}


def test_only_the_current_user_can_read_it_and_the_history_has_it(tenancy: Tenancy, tmp_path: Path) -> None:
    tenancy.create("acme")
    made = transfer.export(tenancy, "acme", tmp_path / "out")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in made.path.iterdir()} == {0o600}
    last = describe(tenancy, "acme").history[-1]
    assert (last.event, last.details) == ("exported", {"folder": "out", "format": "csv", "rows": 0})
