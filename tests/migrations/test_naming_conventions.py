"""Constraints and indexes have the names that plain Alembic gives them by the same naming convention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, MetaData

from tenantkit import Tenancy
from tenantkit.migrations import migrate
from tests.migrations.environments import Environment
from tests.migrations.parity.plain import Plain
from tests.migrations.shapes import differences, look

KEYS = ("alone", "first", "second", "third")


def in_words(constraint: Any, table: sa.Table) -> str:
    """A token of a naming convention, as a function."""
    return f"{table.name}_of_{len(constraint.columns)}"


CONVENTIONS: dict[str, dict[Any, Any]] = {
    "none": {},
    "alembic's": {
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
    "all columns": {
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_key)s_%(referred_table_name)s_%(referred_column_0_N_name)s",
        "pk": "pk_%(column_0_N_name)s_%(table_name)s",
    },
    "given names": {each: f"{each}_%(table_name)s_%(constraint_name)s" for each in ("ix", "uq", "fk", "ck")},
    "numbered columns": {
        "ix": "%(table_name)s_%(column_0_key)s_ix",
        "uq": "%(column_1_name)s_%(column_0_label)s_key",
        "fk": "%(column_0_label)s_%(referred_column_0_name)s_fk",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
    "too long": {
        each: "_".join([each, "%(table_name)s", *["very"] * 14, "%(column_0_N_name)s"]) for each in ("ix", "uq", "fk", "pk")
    },
    "classes": {
        sa.Index: "i %(table_name)s %(column_0_N_name)s",
        sa.UniqueConstraint: 'U "%(table_name)s" %(column_0_name)s',
        sa.ForeignKeyConstraint: "f %(table_name)s %(column_0_name)s 100%%",
        sa.PrimaryKeyConstraint: "p %(table_name)s",
    },
    "a function": {"words": in_words, "ix": "ix_%(words)s", "uq": "uq_%(words)s", "fk": "fk_%(words)s", "pk": "pk_%(words)s"},
}  # fmt: skip

STEPS = """
op.create_table(T, sa.Column("x", sa.Integer, primary_key=True), sa.Column("y", sa.Text, index=BARE), schema=S)
op.create_table(T, sa.Column("x", sa.Integer), sa.PrimaryKeyConstraint("x"), sa.Index(op.f(f"as it is {T}"), "x"), schema=S)
op.create_table(T, sa.Column("x", sa.Integer), sa.UniqueConstraint("x", "z", name=name("a")), sa.Column("z", sa.Integer), schema=S)
op.create_table(T, sa.Column("x", sa.Integer, sa.CheckConstraint("x > 0", name="positive")), sa.CheckConstraint("x < 9", name=op.f("raw")), schema=S)
op.create_table(T, sa.Column("x", sa.Integer, key="k"), sa.Column("y", sa.Text, key="l"), sa.Index(name("b"), "k", "l"), sa.UniqueConstraint("k", "l", name=name("c")), schema=S)
op.create_table(T, sa.Column("x", sa.Integer, *fk("d")), schema=S)
make(); op.add_column(T, sa.Column("c", sa.Integer, *fk("e")), schema=S)
make(); op.add_column(T, sa.Column("c", sa.Integer, index=BARE), schema=S)
make(); op.add_column(T, sa.Column("c", sa.Integer, sa.CheckConstraint("c > 0", name="positive")), schema=S)
make(); op.create_index(name("f"), T, ["x"], schema=S)
make(); op.create_index(name("g"), T, ["x", "y"], schema=S, unique=True)
make(); op.create_unique_constraint(name("h"), T, ["x", "y"], schema=S)
make(); op.create_check_constraint("given", T, "x > 0", schema=S)
make(); op.create_check_constraint(op.f("raw"), T, sa.column("x") > 1, schema=S)
make(); op.create_foreign_key(name("i"), T, "other", ["x"], ["id"], source_schema=S, referent_schema=S)
make(); op.create_foreign_key(op.f("raw"), T, "other", ["x"], ["id"], source_schema=S, referent_schema=S)
make(); op.create_primary_key(name("j"), T, ["x"], schema=S)
with_batch(lambda batch: batch.create_index(name("l"), ["x", "y"]))
with_batch(lambda batch: batch.create_unique_constraint(name("m"), ["x", "y"]))
with_batch(lambda batch: batch.create_check_constraint("batched", "x > 0"))
with_batch(lambda batch: batch.create_foreign_key(name("n"), "other", ["x"], ["id"], referent_schema=S))
with_batch(lambda batch: batch.add_column(sa.Column("c", sa.Integer, index=BARE)))
make(); op.create_check_constraint("given", T, "x > 0", schema=S); op.drop_constraint("given", T, schema=S, type_="check")
make(); op.create_check_constraint(op.f("raw"), T, "x > 0", schema=S); op.drop_constraint(op.f("raw"), T, schema=S, type_="check")
op.execute(sa.schema.CreateTable(sa.Table(T, sa.MetaData(schema=S, naming_convention={"pk": "own_%(table_name)s"}), sa.Column("x", sa.Integer, primary_key=True))))
""".strip().splitlines()
"""Operations, each on a table of its own: with names where the convention asks for them, otherwise without."""

HEAD = """
def name(given):
    return f"{given}_{T}" if GIVEN else None

def fk(given):
    return [sa.ForeignKey(f"{S}.other.id", name=name(given))] if FK else []

def make():
    op.create_table(T, sa.Column("x", sa.Integer), sa.Column("y", sa.Text), schema=S)

def with_batch(work):
    make()
    with op.batch_alter_table(T, schema=S) as batch:
        work(batch)
"""


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_names_by_a_convention_are_those_of_plain_alembic(
    convention: str, environment: Environment, make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    def metadata() -> MetaData:
        return MetaData(schema="tenant", naming_convention=CONVENTIONS[convention] or None)

    def make() -> Tenancy:
        return make_tenancy(tenant=metadata(), shared=MetaData(), migrations=environment.folder)

    environment.add("one", "pass")
    tenancy = make()
    for key in KEYS:
        tenancy.create(key)
    given, referred = (
        "constraint_name" in str(CONVENTIONS[convention].get("uq")),
        "referred_column" in str(CONVENTIONS[convention].get("fk")),
    )
    steps = [f"T = 't{number}'\n{step}" for number, step in enumerate(STEPS)]
    first = 'op.create_table("other", sa.Column("id", sa.Integer, primary_key=True), schema=S)'
    environment.add(
        "two",
        "\n".join(["global T", first, *steps]),
        head=f"S, GIVEN, BARE, FK = 'tenant', {given}, {not given}, {not referred}\n{HEAD}",
    )
    Plain(engine.url, environment.folder / "tenant", metadata()).upgrade("head")
    with engine.begin() as connection:
        expected = look(connection, "tenant")
        connection.exec_driver_sql("DROP SCHEMA tenant CASCADE")
    migrate(make(), tenants=["alone"], engine="alembic", jobs=1)
    report = migrate(make(), jobs=1)
    assert "replay" in {outcome.engine for outcome in report.outcomes}
    make().create("new")
    with engine.connect() as connection:
        for key in (*KEYS, "new"):
            assert differences(look(connection, f"t_{key}"), expected) == [], key
