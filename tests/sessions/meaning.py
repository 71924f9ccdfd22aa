"""An application whose statements have another result in public, and the statements with their correct results."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    Enum,
    MetaData,
    Table,
    any_,
    bindparam,
    cast,
    column,
    func,
    inspect,
    select,
    text,
    values,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

KEYS = ("acme", "beta")


class Priority(enum.Enum):
    low = "low"
    high = "high"


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    priority: Mapped[Priority] = mapped_column(Enum(Priority, name="priority"))
    email: Mapped[str] = mapped_column(CITEXT())


class Invoice(Base):
    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(default=func.nextval("invoice_no"))


LEFT_OVERS = """
CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
CREATE TYPE public.priority AS ENUM ('low', 'middle', 'high');
CREATE TABLE public.note (id serial, body text, priority public.priority, email text, strange int);
INSERT INTO public.note (body, priority, email) VALUES ('public', 'high', 'ann@example.com');
CREATE SEQUENCE public.invoice_no START 1;
CREATE FUNCTION public.whose() RETURNS text LANGUAGE sql AS 'SELECT ''public''::text';
"""
"""Objects in public from a time before tenants, or from other uses of the database."""

SEED = """
CREATE SEQUENCE invoice_no START {start};
CREATE FUNCTION whose() RETURNS text LANGUAGE sql AS 'SELECT body FROM note';
CREATE FUNCTION first_note() RETURNS note LANGUAGE sql AS 'SELECT * FROM note';
CREATE TABLE of_{key} (id int);
"""


def prepare(make_tenancy: Callable[..., Any], engine: Engine, **options: Any) -> Any:
    """Make a tenancy with the tenants of `KEYS` in a database whose public schema has tables, types and functions."""
    with engine.begin() as connection:
        connection.exec_driver_sql(LEFT_OVERS)
    tenancy = make_tenancy(tenant=Base.metadata, shared=None, extra_schemas=["ext"], **options)
    for number, key in enumerate(KEYS, 1):

        def seed(session: Session, key: str = key, number: int = number) -> None:
            for statement in SEED.format(key=key, start=1000 * number).split(";\n"):
                if statement:
                    session.execute(text(statement))
            session.add(Note(body=key, priority=Priority.high, email="Ann@Example.com"))

        tenancy.create(key, seed=seed)
    return tenancy


def whose_number(number: int | None) -> str:
    return {1: "acme", 2: "beta"}.get((number or 0) // 1000, "public")


def whose_tables(connection: Connection) -> str:
    names = [name for name in inspect(connection).get_table_names() if name.startswith("of_")]
    return names[0].removeprefix("of_") if len(names) == 1 else str(names)


def whose_columns(connection: Connection) -> bool:
    return "strange" not in Table("note", MetaData(), autoload_with=connection).columns


def added(session: Session) -> str:
    invoice = Invoice()
    session.add(invoice)
    session.flush()
    return whose_number(invoice.number)


def by_cursor(session: Session) -> str:
    cursor = session.connection().connection.cursor()
    try:
        cursor.execute("SELECT body FROM note")
        ((body,),) = cursor.fetchall()
        return str(body)
    finally:
        cursor.close()


PRIORITY = Enum(Priority, name="priority", schema="tenant")
BARE = Enum("low", "high", name="priority")

PROBES: dict[str, Callable[[Session], Any]] = {
    "mapped": lambda session: session.scalars(select(Note.body)).one(),
    "text": lambda session: session.scalars(text("SELECT body FROM note")).one(),
    "extension type": lambda session: session.scalars(select(Note.body).where(Note.email == "ANN@EXAMPLE.COM")).one(),
    "typed value": lambda session: session.scalars(select(Note.body).where(Note.priority == Priority.high)).one(),
    "cast": lambda session: session.scalars(select(Note.body).where(Note.priority == cast("high", BARE))).one(),
    "typed parameter": lambda session: session.scalars(
        select(Note.body).where(Note.priority == bindparam("given", "high", PRIORITY))
    ).one(),
    "typed parameters of text": lambda session: session.scalars(
        select(text("body")).select_from(text("note")).where(column("priority", PRIORITY).in_([Priority.high]))
    ).one(),
    "array": lambda session: session.scalars(
        select(Note.body).where(Note.priority == any_(cast(["high"], ARRAY(PRIORITY))))
    ).one(),
    "values": lambda session: session.scalars(
        select(Note.body).join(
            values(column("p"), name="v").data([("high",)]), Note.priority == cast(column("p"), BARE)
        )
    ).one(),
    "cast in text": lambda session: session.scalars(
        text("SELECT body FROM note WHERE priority = 'high'::priority")
    ).one(),
    "parameter cast in text": lambda session: session.scalars(
        text("SELECT body FROM note WHERE priority = CAST(CAST(:p AS text) AS priority)"), {"p": "high"}
    ).one(),
    "whole row": lambda session: session.execute(text("SELECT * FROM note")).one().body,
    "row type": lambda session: session.scalars(text("SELECT (first_note()).body")).one(),
    "function": lambda session: session.scalars(select(func.whose())).one(),
    "sequence": lambda session: whose_number(session.scalar(select(func.nextval("invoice_no")))),
    "default": added,
    "current_schema": lambda session: str(session.scalar(select(func.current_schema()))).removeprefix("t_"),
    "to_regclass": lambda session: session.scalar(
        text("SELECT substr(relnamespace::regnamespace::text, 3) FROM pg_class WHERE oid = to_regclass('note')")
    ),
    "serial": lambda session: str(session.scalar(select(func.pg_get_serial_sequence("note", "id"))))[2:6],
    "inspector": lambda session: whose_tables(session.connection()),
    "driver": lambda session: session.connection().exec_driver_sql("SELECT body FROM note").scalar_one(),
    "cursor": by_cursor,
}
"""Statements that return the key of the tenant whose objects they use."""
