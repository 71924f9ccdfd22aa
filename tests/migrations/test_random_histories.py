"""Random histories: a replay leaves the same catalogs and rows as Alembic."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from sqlalchemy import URL, MetaData, NullPool, create_engine

from tenantkit import Tenancy
from tenantkit.baseline import squash
from tenantkit.migrations import init, migrate
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support.generated import examples

KEYS = [f"k{number}" for number in range(4)]
NEW = ["new", "newer", "newest"]

# Values of each type, some of which need quoting in SQL; PostgreSQL allows no NUL.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["it's", "100%", "%(x)s", "a\\", "$$", "$tenantkit$", ":x", "-- ", "/*", '"tenant".', "{}", "TK", "\n;"]
)
TYPES: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "text": ("sa.Text", TEXTS),
    "int": ("sa.Integer", st.integers(-(2**31), 2**31 - 1)),
    "big": ("sa.BigInteger", st.integers(-(2**63), 2**63 - 1)),
    "float": ("sa.Float", st.floats(allow_nan=False)),
    "bool": ("sa.Boolean", st.booleans()),
    "json": ("postgresql.JSONB", st.dictionaries(st.text("abc'%\\", max_size=4), TEXTS | st.integers() | st.none(), max_size=2)),
    "bytes": ("sa.LargeBinary", st.binary(max_size=6)),
    "list": ("postgresql.ARRAY(sa.Text)", st.lists(TEXTS, max_size=2)),
}  # fmt: skip

Tables = dict[str, dict[str, str]]


@st.composite
def histories(draw: st.DrawFn) -> list[list[str]]:
    """Draw revisions, each of a few operations on the existing tables."""
    tables: Tables = {"first": {"text": "text"}}
    number = 0
    history: list[list[str]] = []
    for _ in range(draw(st.integers(1, 3))):
        operations: list[str] = []
        for _ in range(draw(st.integers(1, 4))):
            number += 1
            operations.append(draw(one_operation(tables, number)))
        history.append(operations)
    return history


@st.composite
def one_operation(draw: st.DrawFn, tables: Tables, number: int) -> str:  # noqa: PLR0911 - one for each operation
    table = draw(st.sampled_from(sorted(tables)))
    columns = tables[table]
    column = draw(st.sampled_from(sorted(columns)))
    kind = draw(st.sampled_from(sorted(TYPES)))
    new = f"{kind}{number}"
    match draw(
        st.sampled_from(["create", "add", "enum", "drop", "rename", "rename table", "index", "insert", "update"])
    ):
        case "create":
            tables[f"t{number}"] = {new: kind}
            reference = f'sa.Column("r", sa.Integer, sa.ForeignKey("tenant.{table}.id"))'
            return (
                f'op.create_table("t{number}", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True), '
                f'sa.Column({new!r}, {TYPES[kind][0]}), {reference}, schema="tenant")'
            )
        case "add":
            columns[new] = kind
            default = draw(TEXTS) if kind == "text" else None
            return f'op.add_column({table!r}, sa.Column({new!r}, {TYPES[kind][0]}, server_default={default!r}), schema="tenant")'
        case "enum":
            values = draw(st.lists(st.sampled_from(["a", "b'", "c%", 'd"']), min_size=1, unique=True))
            columns[f"e{number}"] = "enum"
            return (
                f'op.add_column({table!r}, sa.Column("e{number}", sa.Enum(*{values!r}, name="enum{number}", '
                'schema="tenant")), schema="tenant")'
            )
        case "drop" if len(columns) > 1:
            del columns[column]
            return f'op.drop_column({table!r}, {column!r}, schema="tenant")'
        case "rename":
            columns[f"{column}_{number}"] = columns.pop(column)
            return f'op.alter_column({table!r}, {column!r}, new_column_name="{column}_{number}", schema="tenant")'
        case "rename table":
            tables[f"{table}_{number}"] = tables.pop(table)
            return f'op.rename_table({table!r}, "{table}_{number}", schema="tenant")'
        case "index":
            return f'op.create_index("ix{number}", {table!r}, [sa.text("({column} IS NULL)")], schema="tenant")'
        case "insert" if columns[column] in TYPES:
            type_, values = TYPES[columns[column]]
            light = f'sa.table({table!r}, sa.column({column!r}, {type_}), schema="tenant")'
            data = [{column: draw(values)} for _ in range(draw(st.integers(1, 3)))]
            return f"op.bulk_insert({light}, {data!r})"
        case _:
            text = draw(TEXTS)
            return (
                f'op.execute(sa.table({table!r}, sa.column("id"), sa.column({column!r}, sa.Text), schema="tenant")'
                f'.update().where(sa.column({column!r}, sa.Text).cast(sa.Text) == {text!r}).values(id=sa.column("id")))'
            )


@pytest.fixture(scope="module")
def template(make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A database with a fleet at its first revision, and its environment."""
    folder = tmp_path_factory.mktemp("histories") / "migrations"
    init(folder)
    Environment(folder).add(
        "zero",
        'op.create_table("first", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True), sa.Column("text", sa.Text), schema="tenant")',
    )
    url = make_template()
    with closing(Tenancy(url, tenant=MetaData(schema="tenant"), migrations=folder, listen=False)) as tenancy:
        tenancy.install()
        for key in KEYS:
            tenancy.create(key)
    assert url.database
    return url.database, folder


def write(history: list[list[str]], folder: Path, migrations: Path) -> Path:
    """Copy *folder* to *migrations*, add the revisions of a history, and return it."""
    shutil.rmtree(migrations, ignore_errors=True)
    shutil.copytree(folder, migrations)
    environment = Environment(migrations, {"tenant": "zero"})
    for number, operations in enumerate(history):
        environment.add(f"r{number}", "inf = float('inf')\n" + "\n".join(operations))
    return migrations


@examples(
    3,
    25,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories())
def test_a_replayed_history_has_the_result_of_alembic(
    history: list[list[str]], template: tuple[str, Path], make_database: Callable[..., URL], tmp_path: Path
) -> None:
    database, folder = template
    migrations = write(history, folder, tmp_path / "migrations")
    url = make_database(database)
    with closing(Tenancy(url, tenant=MetaData(schema="tenant"), migrations=migrations, listen=False)) as tenancy:
        report = migrate(tenancy, jobs=2)
        for key in NEW:  # the third one by the script that the others have recorded
            tenancy.create(key)
    assert [outcome.engine for outcome in sorted(report.outcomes, key=lambda outcome: outcome.key)] == [
        "alembic", "alembic", "replay", "replay"
    ], report.not_replayed  # fmt: skip
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        confirmed = connection.exec_driver_sql("SELECT state FROM tenantkit.scripts ORDER BY recorded_at DESC").scalar()
        first, *others = [(shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in (*KEYS, *NEW)]
    assert others == [first] * 6
    assert confirmed == "confirmed"


@pytest.mark.all_cases
@examples(
    2,
    10,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), data=st.data())
def test_a_squashed_history_builds_the_same(
    history: list[list[str]],
    data: st.DataObject,
    template: tuple[str, Path],
    make_database: Callable[..., URL],
    tmp_path: Path,
) -> None:
    database, folder = template
    migrations = write(history, folder, tmp_path / "migrations")
    to = f"r{data.draw(st.integers(0, len(history) - 1))}"
    url = make_database(database)
    with closing(Tenancy(url, tenant=MetaData(schema="tenant"), migrations=migrations, listen=False)) as tenancy:
        migrate(tenancy, jobs=2)
        made = squash(tenancy, to)
        assert made.replaced == ("zero", *(f"r{number}" for number in range(int(to[1:]))))
        assert len(list((migrations / "tenant").glob("*.py"))) == len(history) - int(to[1:])
        assert migrate(tenancy, jobs=2).outcomes == ()
        tenancy.create("new")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        first, new = ((shape(connection, f"t_{key}"), rows(connection, f"t_{key}")) for key in (KEYS[0], "new"))
    # The names of NOT NULL, which PostgreSQL 18 has, are not compared.
    there, built = ([line for line in lines if " NOT NULL " not in line] for lines in (first[0], new[0]))
    assert built == there
    assert new[1] == first[1]
