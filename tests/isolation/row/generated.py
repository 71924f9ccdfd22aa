"""Random metadata of tenant tables: keys, constraints, indexes and foreign keys, also in cycles."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Enum,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.types import TypeEngine

CONVENTIONS = [
    None,
    {
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
]
LONG = "a_table_whose_name_is_so_long_that_names_made_of_it_are_cut"


@st.composite
def metadata(draw: st.DrawFn, column: TypeEngine[Any] | None = None) -> MetaData:
    """Return the metadata of one to four tenant tables; ``code`` is unique in each, and has values of text.

    With the type of a *column*, their keys are UUIDs, and some tables declare it as ``organization_id``.
    """
    made = MetaData(schema="tenant", naming_convention=draw(st.sampled_from(CONVENTIONS)))
    names = draw(st.lists(st.sampled_from(["account", "Odd Name", "x", LONG]), min_size=1, max_size=4, unique=True))
    key = draw(st.sampled_from([Integer, BigInteger, Uuid])) if column is None else Uuid
    for name in names:
        default = text("gen_random_uuid()") if key is Uuid else None
        identity = [Identity()] if key is not Uuid and draw(st.booleans()) else []
        Table(
            name,
            made,
            Column("id", key, *identity, primary_key=True, server_default=default),
            Column("code", String, unique=draw(st.booleans()), nullable=False),
            Column("kind", Enum("a", "b", name="kind", metadata=made), index=draw(st.booleans())),
            Column("n", Integer, CheckConstraint("n > 0") if draw(st.booleans()) else None),
        )
        if column is not None and draw(st.booleans()):
            made.tables[f"tenant.{name}"].append_column(Column("organization_id", column, nullable=draw(st.booleans())))
    tables = list(made.tables.values())
    for number, table in enumerate(tables):
        if not any(isinstance(each, UniqueConstraint) for each in table.constraints):
            table.append_constraint(
                UniqueConstraint("code", name=f"uq_{number}", postgresql_nulls_not_distinct=draw(st.booleans()))
            )
        for other in draw(st.lists(st.integers(0, len(tables) - 1), max_size=3, unique=True)):
            _refer(draw, table, tables[other], f"ref{other}")
        for index in range(draw(st.integers(0, 2))):
            _index(draw, table, f"ix_{number}_{index}")
    return made


def _refer(draw: st.DrawFn, table: Table, target: Table, name: str) -> None:
    column = target.columns[draw(st.sampled_from(["id", "code"]))]
    table.append_column(Column(name, column.type))
    table.append_constraint(
        ForeignKeyConstraint(
            [name],
            [column],
            ondelete=draw(st.sampled_from([None, "CASCADE", "SET NULL", "set default", "RESTRICT"])),
            onupdate=draw(st.sampled_from([None, "CASCADE"])),
            deferrable=draw(st.sampled_from([None, True])),
            use_alter=table is not target,
            name=f"fk_{table.name[:20]}_{name}" if table.metadata.naming_convention.get("fk") is None else None,
        )
    )


def _index(draw: st.DrawFn, table: Table, name: str) -> None:
    columns = table.columns
    expressions = draw(
        st.sampled_from(
            [[columns.code], [columns.n.desc(), columns.code], [func.lower(columns.code)], [text("(n + 1)")]]
        )
    )
    Index(
        name,
        *expressions,
        unique=draw(st.booleans()),
        postgresql_where=draw(st.sampled_from([None, columns.n > 3])),
        _table=table,
    )
