"""Names in text, at any place of a statement, are found in the tenant's schema only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ColumnDefault,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    column,
    delete,
    exists,
    extract,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
    union,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    column_property,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    undefer,
    with_loader_criteria,
)
from sqlalchemy.schema import CreateSequence

from tenantkit import RawSQLForbiddenError

OWNER = "(SELECT max(owner) FROM note)"
PATH = select(func.current_setting("search_path"))


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.shelf.id"))


class Shelf(Base):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    notes: Mapped[list[Note]] = relationship(order_by=literal_column(OWNER))


class Counted(Base):
    __tablename__ = "counted"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = column_property(literal_column(OWNER).label("owner"))
    late: Mapped[str | None] = column_property(literal_column(OWNER).label("late"), deferred=True)


class Filled(Base):
    __tablename__ = "filled"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(default=text(OWNER))


class Touched(Base):
    __tablename__ = "touched"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    owner: Mapped[str | None] = mapped_column(onupdate=text(OWNER))


NOTE = table("note", column("id"), column("owner"), column("shelf_id"))
"""A lightweight table, without a schema to translate."""

UNKNOWN = Table("note", MetaData(), Column("id", Integer), Column("owner", String))
"""A table of other metadata, without a schema."""

READS = {
    "text": text("SELECT owner FROM note"),
    "columns of text": text("SELECT owner FROM note").columns(column("owner")),
    "text as a column": select(text("owner")).select_from(text("note")),
    "literal column": select(literal_column(OWNER)),
    "from_statement": select(Note.owner).from_statement(text("SELECT owner FROM note")),
    "operator": select(literal("").op(f"|| {OWNER} ||")("")),
    "operator of words": select(literal("-").op("FROM note UNION SELECT")("x")),
    "operator with a comment": select(Note.owner).where(literal(1).bool_op("= 1 --\n AND 1 =")(1)),
    "field of extract": select(extract(f"year FROM now()), {OWNER}, extract(year", func.now())),
    "text in where": select(Note.owner).where(text(f"note.owner = {OWNER}")),
    "literal in where": select(Note.owner).where(Note.owner == literal_column(OWNER)),
    "text in join": select(Note.owner).join(Shelf, text(f"note.owner = {OWNER}")),
    "text in having": select(func.max(Note.owner)).having(text(f"max(note.owner) = {OWNER}")),
    "text in order": select(Note.owner).order_by(text(OWNER)),
    "text in a subquery": select(text("SELECT owner FROM note").columns(column("owner")).subquery().c.owner),
    "text in a cte": select(text("SELECT owner FROM note").columns(column("owner")).cte().c.owner),
    "text in a lateral": select(text("SELECT owner FROM note").columns(column("owner")).lateral().c.owner),
    "text in a union": union(select(Note.owner), text("SELECT owner FROM note").columns(column("owner"))),
    "text in a function": select(func.coalesce(literal_column(OWNER), "nobody")),
    "text in values": select(values(column("owner"), name="v").data([(literal_column(OWNER),)])),
    "lightweight table": select(NOTE.c.owner),
    "alias of a lightweight table": select(NOTE.alias("n").c.owner),
    "lightweight table in exists": select(Note.owner).where(select(NOTE.c.id).exists()),
    "mapped text": select(Counted.owner),
    "mapped text of an entity": select(Counted),
    "mapped text in a subquery": select(select(Counted).subquery().c.owner),
    "mapped text in an aliased subquery": select(aliased(Counted, select(Counted).subquery())),
    "mapped text in a cte": select(select(Counted.owner).cte().c.owner),
    "mapped text, undeferred": select(Counted).options(undefer(Counted.late)),
    "order of a joined relationship": select(Shelf).options(joinedload(Shelf.notes)),
    "order of a selected relationship": select(Shelf).options(selectinload(Shelf.notes)),
    "loader criteria": select(Note.owner).options(with_loader_criteria(Note, Note.owner == literal_column(OWNER))),
    "table that no metadata of the tenancy knows": select(UNKNOWN.c.owner),
    "hint": select(literal("-")).with_statement_hint(f"UNION SELECT {OWNER}"),
    "suffix": select(literal("-")).suffix_with(f"UNION SELECT {OWNER}"),
    "common table expression that writes": select(literal("-")).add_cte(
        update(Note).values(owner=literal_column(OWNER)).cte("changed")
    ),
}

WRITES = {
    "insert text": insert(Filled).values(id=9, owner=text(OWNER)).returning(Filled.owner),
    "insert with a default": insert(Filled).values(id=9).returning(Filled.owner),
    "insert into the table": insert(Filled.__table__).values(id=9).returning(Filled.__table__.c.owner),
    "insert many with text": insert(Filled.__table__)
    .values([{"id": 8, "owner": text(OWNER)}, {"id": 9, "owner": text(OWNER)}])
    .returning(Filled.__table__.c.owner),
    "insert from text": insert(Filled)
    .from_select(["id", "owner"], text(f"SELECT 9, {OWNER}").columns(column("id", Integer), column("owner")))
    .returning(Filled.owner),
    "insert into a lightweight table": insert(NOTE).values(id=9, owner="x").returning(literal_column(OWNER)),
    "insert into a lightweight table, plainly": insert(NOTE).values(id=9, owner="x"),
    "insert into an unknown table": insert(UNKNOWN).values(id=9, owner="x").returning(UNKNOWN.c.owner),
    "returning text": insert(Note).values(id=9, owner="x").returning(literal_column(OWNER)),
    "upsert with text": upsert(Touched)
    .values(id=1)
    .on_conflict_do_update(index_elements=["id"], set_={"owner": text(OWNER)})
    .returning(Touched.owner),
    "upsert where text": upsert(Touched)
    .values(id=1)
    .on_conflict_do_update(index_elements=["id"], set_={"owner": "x"}, where=text(f"{OWNER} = 'nobody'")),
    "update with text": update(Touched).values(owner=literal_column(OWNER)).returning(Touched.owner),
    "update with onupdate": update(Touched).values(name="x").returning(Touched.owner),
    "update where text": update(Touched).values(owner="x").where(text(f"{OWNER} = 'nobody'")),
    "update from a lightweight table": update(Touched)
    .values(owner=NOTE.c.owner)
    .where(Touched.id == NOTE.c.id)
    .returning(Touched.owner),
    "delete where text": delete(Touched).where(text(f"{OWNER} = 'nobody'")),
    "delete using a lightweight table": delete(Touched).where(Touched.owner == NOTE.c.owner),
    "delete from a lightweight table": delete(NOTE).returning(NOTE.c.owner),
}

PLAIN = {
    "select": select(Note.owner),
    "join": select(Note).join(Shelf, Note.shelf_id == Shelf.id),
    "cte": select(select(Note).cte()),
    "insert": insert(Note).values(id=9, owner="x").returning(Note.id),
    "upsert": upsert(Note).values(id=1, owner="x").on_conflict_do_nothing(),
    "update": update(Note).values(owner="x"),
    "delete": delete(Note),
    "function": select(func.now()),
    "count": select(func.count()).select_from(Note),
    "exists": select(Note).where(exists().where(Shelf.id == Note.shelf_id)),
    "any": select(Shelf).where(Shelf.notes.any()),
    "contains": select(Note).where(Note.owner.contains("x")),
    "startswith": select(Note).where(~Note.owner.istartswith("x", autoescape=True)),
    "literal columns": select(literal_column("1"), literal_column("'x -> y'"), literal_column("-1.5")),
    "operator of signs": select(Note.id.op("%")(2), Note.owner.op("<>")("x"), Note.owner.bool_op("~*")("x")),
    "operator of words": select(Note.id.op("IS DISTINCT FROM")(2), func.now().op("at time zone")("UTC")),
    "operator of a schema": select(Note.id.op("OPERATOR(pg_catalog.+)")(2)),
    "extract": select(extract("year", func.now()), extract("epoch", func.now())),
}
"""Statements without text, or with text that SQLAlchemy writes and that holds no name."""


@pytest.fixture
def prepared(make_any_tenancy: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """Make a tenancy with two tenants, and tables of the same names in public, which no statement may read."""

    def prepare(**options: Any) -> Any:
        tenancy = make_any_tenancy(tenant=Base.metadata, shared=None, **options)
        with engine.begin() as connection:
            connection.execution_options(schema_translate_map={"tenant": "public"})
            Base.metadata.create_all(connection)
            fill(connection, "decoy")
        for key in ("acme", "beta"):
            tenancy.create(key, seed=lambda session, key=key: fill(session, key))
        return tenancy

    return prepare


def run(session: Any, statement: Any) -> list[Any]:
    result = session.execute(statement)
    return list(result.unique().scalars()) if getattr(result, "returns_rows", True) else []


def fill(target: Any, owner: str) -> None:
    target.execute(insert(Shelf).values(id=1, title=owner))
    target.execute(insert(Note).values(id=1, owner=owner, shelf_id=1))
    target.execute(insert(Counted).values(id=1))
    target.execute(insert(Touched).values(id=1, name=owner))


def test_text_at_any_place_finds_the_tenants_tables(prepared: Callable[..., Any]) -> None:
    tenancy = prepared()
    wrong = {}
    for name, statement in {**READS, **WRITES}.items():
        for key in ("acme", "beta", "acme"):
            with tenancy.session(key) as session:
                found = run(session, statement)
                path = session.execute(PATH).scalar_one()
            owners = {getattr(value, "owner", value) for value in found} - {"-", "x"}
            owners = {value for value in owners if isinstance(value, str)}
            if not owners <= {key} or path != f"t_{key}, pg_temp":
                wrong[name] = (key, owners, path)
    assert wrong == {}


def test_a_sequence_without_a_schema_is_the_tenants(prepared: Callable[..., Any], engine: Engine) -> None:
    tenancy = prepared()
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE public.number")
        connection.exec_driver_sql("CREATE SEQUENCE t_acme.number START 1000")
    with tenancy.session("acme") as session:
        assert session.scalar(select(Sequence("number").next_value())) == 1000


@pytest.mark.parametrize("name", ["number", "the number", 'its "number"'])
def test_a_declared_sequence_is_no_text(prepared: Callable[..., Any], engine: Engine, name: str) -> None:
    tenancy = prepared(raw_sql="forbid")
    with engine.begin() as connection:
        for key, start in (("acme", 1000), ("beta", 2000)):
            connection.execute(CreateSequence(Sequence(name, schema=f"t_{key}", start=start)))
    with tenancy.session("beta") as session:
        assert session.scalar(Sequence(name, schema="tenant")) == 2000
        for text_in_it in (Sequence(name), ColumnDefault(text(f"({OWNER})")), ColumnDefault(literal_column(OWNER))):
            with pytest.raises(RawSQLForbiddenError):
                session.scalar(text_in_it)
        session.rollback()
        assert session.scalar(Sequence(name, schema="tenant")) == 2001


def test_flushes_with_text_find_the_tenants_tables(prepared: Callable[..., Any]) -> None:
    tenancy = prepared()
    for key in ("acme", "beta"):
        with tenancy.session(key) as session:
            session.add(Filled(id=5))
            session.add(Note(id=5, owner="x"))
            session.flush()
            assert session.execute(select(Filled.owner)).scalar_one() in {key, "x"}
            session.commit()
            touched = session.get(Touched, 1)
            touched.name = "changed"
            session.flush()
            assert session.execute(select(Touched.owner)).scalar_one() == "x"


def test_forbidden_text_is_refused_at_any_place(prepared: Callable[..., Any]) -> None:
    tenancy = prepared(raw_sql="forbid")
    with tenancy.session("acme") as session:
        for name, statement in {**READS, **WRITES}.items():
            with pytest.raises(RawSQLForbiddenError):
                run(session, statement)
                pytest.fail(f"{name} was not refused")
            session.rollback()
        for statement in PLAIN.values():
            session.execute(statement)
            session.rollback()
