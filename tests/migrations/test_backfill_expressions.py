"""A backfill sets the rows and values that one ``sa.update()`` would set, or is refused."""

# ruff: noqa: ARG005, PLC3002 - each expression takes the names, also if it does not use them

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import event, given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, NullPool, create_engine
from sqlalchemy.dialects.postgresql import ENUM, JSONB

from tenantkit.exceptions import ConfigurationError
from tests.migrations.plain import operating
from tests.support.generated import examples

metadata = sa.MetaData(schema="app")
MOOD = ENUM("sad", "glad", name="mood", metadata=metadata)
NOTE = sa.Table(
    "note",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer),
    sa.Column("other", sa.Integer),
    sa.Column("s", sa.Text),
    sa.Column("j", JSONB),
    sa.Column("a", sa.ARRAY(sa.Integer)),
    sa.Column("mood", MOOD),
    sa.Column("amount", sa.Numeric(8, 2)),
    sa.Column("done", sa.Boolean),
)
ITEM = sa.Table(
    "item",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("note_id", sa.Integer),
    sa.Column("size", sa.Integer),
)
PIECE = ITEM.alias("piece")
RATE = sa.Table("rate", sa.MetaData(), sa.Column("code", sa.Text), sa.Column("factor", sa.Integer), schema="shared")

ROWS = """
    TRUNCATE app.note;
    INSERT INTO app.note
    SELECT k, nullif(k % 5, 4), k % 3, nullif('s' || k % 4, 's3'), CASE WHEN k % 3 > 0 THEN jsonb_build_object('k', k) END,
        CASE WHEN k % 4 > 0 THEN ARRAY[k, k % 4] END, (ARRAY['sad', 'glad', NULL])[1 + k % 3]::app.mood, k / 4.0, NULL
    FROM generate_series(1, 23) k
"""


@pytest.fixture(scope="module")
def engine(make_template: Callable[..., URL]) -> Generator[Engine]:
    engine = create_engine(make_template(), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA app; CREATE SCHEMA shared")
        metadata.create_all(connection)
        RATE.create(connection)
        connection.exec_driver_sql("INSERT INTO app.item SELECT k, 1 + k %% 11, k %% 7 FROM generate_series(1, 30) k")
        connection.exec_driver_sql("INSERT INTO shared.rate VALUES ('s0', 10), ('s1', 11), ('s2', NULL)")
    yield engine
    engine.dispose()


@dataclass(frozen=True)
class Names:
    """The names of the table whose rows are set."""

    table: Any
    text: bool = False

    def own(self, name: str) -> Any:
        return sa.column(name) if self.table is None else self.table.c[name]

    def outer(self, name: str) -> Any:
        """The column, in a subquery over another table that has a column of that name, too."""
        return sa.literal_column(f"note.{name}") if self.table is None else self.table.c[name]

    def others(self) -> Any:
        return (NOTE if self.table is None else self.table).alias("n2")


def forms() -> dict[str, Names]:
    light = sa.table("note", *(sa.column(c.name, c.type) for c in NOTE.c), schema="app")
    untyped = sa.table("note", *(sa.column(c.name) for c in NOTE.c), schema="app")
    return {"declared": Names(NOTE), "light": Names(light), "untyped": Names(untyped), "columns": Names(None)}


Made = Callable[[Names], Any]


def made(*functions: Made) -> st.SearchStrategy[Made]:
    return st.sampled_from(functions)


_leaves = made(
    lambda t: t.own("n"),
    lambda t: t.own("id"),
    lambda t: sa.literal(3),
    lambda t: sa.null(),
    lambda t: sa.select(sa.func.count()).select_from(ITEM).where(ITEM.c.note_id == t.outer("id")).scalar_subquery(),
    lambda t: sa.select(sa.func.max(ITEM.c.size)).where(ITEM.c.note_id == t.outer("id")).scalar_subquery(),
    lambda t: sa.select(sa.func.max(ITEM.c.size)).scalar_subquery(),
    lambda t: sa.select(RATE.c.factor).where(RATE.c.code == t.outer("s")).scalar_subquery(),
    lambda t: (
        sa.select(ITEM.c.size).where(ITEM.c.note_id == t.outer("id")).order_by(ITEM.c.id).limit(1).scalar_subquery()
    ),
    lambda t: sa.literal_column("note.other + 1"),
    lambda t: sa.literal_column("(SELECT count(*) FROM app.item WHERE item.note_id = note.id)", sa.Integer),
    lambda t: (lambda n2: sa.select(sa.func.count()).select_from(n2).where(n2.c.id < t.outer("id")).scalar_subquery())(
        t.others()
    ),
)


def _grow_numbers(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda p: lambda t: sa.func.coalesce(p[0](t), p[1](t))),
        two.map(lambda p: lambda t: sa.case((t.own("other") > 1, p[0](t)), else_=p[1](t))),
        inner.map(lambda i: lambda t: sa.cast(sa.cast(i(t), sa.Text), sa.Integer)),
        inner.map(lambda i: lambda t: sa.func.abs(i(t)) * 2),
    )


numbers = st.recursive(_leaves, _grow_numbers, max_leaves=4)


TEXTS: list[Callable[[str], Any]] = [
    lambda mark: sa.text(f"{mark}id < 4 OR {mark}id > 19 -- a comment, at 100% of the line"),
    lambda mark: sa.literal_column(f"{mark}id < 4 OR {mark}id > 19", sa.Boolean),
    lambda mark: sa.text(f"{mark}note.id % :every = 0 OR {mark}s LIKE 's1%'").bindparams(every=4),
    lambda mark: f"{mark}id % 3 = 0 OR {mark}s LIKE 's1%' -- a comment",
]
"""Conditions with OR at the top level, whose parts each exclude rows that are set."""


def _condition(number: Made, kind: int) -> Made:
    return {
        0: lambda t: number(t).is_(None),
        1: lambda t: number(t) > 2,
        2: lambda t: t.own("id").in_([2, 3, 5, 7, 11]),
        3: lambda t: t.own("id").in_(sa.select(ITEM.c.note_id).where(ITEM.c.size > 3)),
        4: lambda t: sa.exists().where(ITEM.c.note_id == t.outer("id")),
        5: lambda t: ~sa.select(ITEM.c.id).where(ITEM.c.note_id == t.outer("id"), ITEM.c.size > 3).exists(),
        6: lambda t: t.own("mood") == sa.cast("sad", MOOD),
        7: lambda t: sa.or_(number(t) > 3, t.own("s").in_(["s1", "s2"])),
        8: lambda t: sa.true(),
    }[kind]


def joined(t: Names) -> Any:
    """A condition with another table, by ``UPDATE ... FROM``."""
    return sa.and_(t.own("id") == PIECE.c.note_id, PIECE.c.size == 2)


conditions = st.builds(_condition, numbers, st.integers(0, 8))

VALUES: dict[str, st.SearchStrategy[Made]] = {
    "n": st.one_of(numbers, made(lambda t: 5, lambda t: None, lambda t: sa.text("n + 1"), lambda t: t.own("n") + 1)),
    "s": made(
        lambda t: "it's 5% of :all",
        lambda t: sa.func.upper(t.own("s")),
        lambda t: sa.func.concat(t.own("s"), "-", t.own("id")),
        lambda t: sa.literal_column("upper(note.s)"),
        lambda t: sa.select(RATE.c.code).order_by(RATE.c.code).limit(1).scalar_subquery(),
    ),
    "j": made(
        lambda t: {"a": [1, None, "x%"]},
        lambda t: [1, 2],
        lambda t: sa.func.jsonb_build_object("n", t.own("n")),
        lambda t: sa.null(),
    ),
    "a": made(lambda t: [1, 2], lambda t: [], lambda t: sa.func.array_append(t.own("a"), t.own("id")), lambda t: None),
    "mood": made(lambda t: "glad", lambda t: sa.cast("sad", MOOD), lambda t: None),
    "amount": made(lambda t: 1.5, lambda t: t.own("amount") * 2, lambda t: sa.cast(t.own("id"), sa.Numeric)),
}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=3, unique=True))
    return {
        "form": draw(st.sampled_from(["declared", "light", "untyped", "columns"])),
        "values": {name: draw(VALUES[name]) for name in names},
        "where": draw(st.one_of(conditions, st.just(joined), st.sampled_from(TEXTS))),
        "by_column": draw(st.booleans()),
        "by_object": draw(st.booleans()),
        "marks": draw(st.integers(0, 9)) > 0,
        "size": draw(st.integers(1, 30)),
    }


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return [*connection.execute(sa.select(NOTE).order_by(NOTE.c.id)).all()]


def reset(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(ROWS.replace("%", "%%"))


def written(change: dict[str, Any], names: Names) -> tuple[dict[str, Any], Any]:
    values = {name: made(names) for name, made in change["values"].items()}
    where: Any
    if change["marks"]:
        values["done"] = True
    if change["where"] in TEXTS:
        where = change["where"]("done IS NULL AND " if change["marks"] else "")
    else:
        where = change["where"](names)
        where = sa.and_(names.own("done").is_(None), where) if change["marks"] else where
    return values, where


@examples(15, 100)
@given(changes())
def test_a_backfill_has_the_result_of_an_update(engine: Engine, change: dict[str, Any]) -> None:
    reset(engine)
    before = rows(engine)
    values, where = written(change, Names(NOTE))
    failed = False
    try:
        with engine.begin() as connection:
            connection.execute(
                sa.update(NOTE)
                .where(sa.text(where.replace(":", "\\:")) if isinstance(where, str) else where)
                .values(values)
            )
    except sa.exc.DBAPIError:
        failed = True
    expected = rows(engine)

    reset(engine)
    # Names alone would be ambiguous beside another table.
    names = forms()["light" if change["where"] is joined else change["form"]]
    values, where = written(change, names)
    if change["by_column"]:
        values = {names.own(name): value for name, value in values.items()}
    by_object = change["by_object"] and names.table is not None
    table, options = (names.table, {}) if by_object else ("note", {"schema": "app"})
    error: Exception | None = None
    try:
        with operating(engine) as op:
            op.backfill(table, values, where, batch_size=change["size"], **options)
    except (sa.exc.DBAPIError, ConfigurationError) as caught:
        error = caught
    event("the same" if error is None else type(error).__name__)
    assert isinstance(error, sa.exc.DBAPIError) == failed
    # Without a condition that excludes rows that are set, it would not end and is refused.
    assert not isinstance(error, ConfigurationError) or (not change["marks"] and "would not end" in str(error))
    assert rows(engine) == (expected if error is None else before)
