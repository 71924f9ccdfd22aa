"""Sessions that reach shared tables from another database, and what no statement and no transaction can do there."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    URL,
    Column,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    event,
    exists,
    func,
    insert,
    inspect,
    literal,
    select,
    table,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased, joinedload, selectinload, subqueryload

from tenantkit import CrossDatabaseError, ProvisioningError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.lifecycle.builders import make_shared_tables
from tests.isolation.two_databases import POOL
from tests.many_databases.library import APPLICATION, Author, Base, Book, Copy, Shared
from tests.support.blocking import blocking, in_sync

AUTHORS, BOOKS = Author.__table__, Book.__table__


def make_library(main: URL, eu: URL) -> Tenancy:
    tenancy = Tenancy({"main": main, "eu": eu}, **APPLICATION)
    tenancy.install()
    with tenancy.engine.begin() as connection:
        make_shared_tables(connection, tenancy)
        connection.execute(insert(AUTHORS), [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}])
    with tenancy.databases.engine("eu").begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA shared")
        connection.exec_driver_sql("CREATE TABLE shared.author AS SELECT 1 AS id, 'decoy' AS name")
    for key, database in (("acme", "main"), ("berta", "eu")):
        tenancy.create(key, database=database, seed=lambda session: session.add(Book(id=1, title="B", author_id=1)))
    return tenancy


@pytest.fixture
def library(urls: tuple[URL, URL]) -> Generator[Tenancy]:
    """``acme`` in the main database and ``berta`` in the other, which has a decoy of the shared table."""
    with closing(make_library(*urls)) as tenancy:
        yield tenancy


@pytest.fixture(params=["sync", "psycopg", "asyncpg"])
def any_library(
    request: pytest.FixtureRequest, library: Tenancy, urls: tuple[URL, URL]
) -> Generator[Callable[..., Any]]:
    """Make that tenancy in every colour, with options."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        if request.param == "sync":
            named = dict(zip(("main", "eu"), urls, strict=True))
            found: Any = Tenancy(named, engine_options=POOL, **APPLICATION, **options)
        else:
            names = [url.set(drivername=f"postgresql+{request.param}") for url in urls]
            found = AsyncTenancy(
                dict(zip(("main", "eu"), names, strict=True)), engine_options=POOL, **APPLICATION, **options
            )
            found = blocking(found, request.getfixturevalue("portal")).__enter__()
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()


READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda session: session.get(Author, 1).name,
    "ORM": lambda session: session.scalars(select(Author.name).order_by(Author.id)).first(),
    "ORM entity": lambda session: session.scalars(select(Author).where(Author.id == 1)).one().name,
    "alias": lambda session: session.scalars(select(aliased(Author)).order_by(text("id"))).first().name,
    "Core": lambda session: session.execute(select(AUTHORS.c.name).where(AUTHORS.c.id == 1)).scalar_one(),
    "count": lambda session: {2: "Ann"}[session.scalar(select(func.count()).select_from(Author))],
    "union": lambda session: session.scalars(union_all(select(AUTHORS.c.name), select(AUTHORS.c.name))).first(),
    "criterion with an object of the tenant": lambda session: session.scalars(
        select(Author.name).where(Author.id == session.get(Book, 1).author_id)
    ).one(),
    "selectinload": lambda session: session.scalars(select(Book).options(selectinload(Book.author))).one().author.name,
    "lazy": lambda session: in_sync(session, lambda session: session.get(Book, 1).author.name),
    "refresh": lambda session: (session.refresh(author := session.get(Author, 1)), author.name)[1],
    "text there": lambda session: session.execute(
        text("SELECT name FROM shared.author WHERE id = 1"), bind_arguments={"mapper": inspect(Author)}
    ).scalar_one(),
}


def test_shared_tables_are_read_in_the_main_database(any_library: Callable[..., Any]) -> None:
    tenancy = any_library()
    for key in ("acme", "berta"):
        for name, read in READS.items():
            with tenancy.session(key) as session:
                assert session.scalars(select(Book.title)).all() == ["B"], name
                assert read(session) == "Ann", name
                assert session.execute(text("SELECT title FROM book")).scalar_one() == "B", name
                session.rollback()
                assert (read(session), session.scalars(select(Book.title)).one()) == ("Ann", "B"), name


JOINS: dict[str, Callable[[Any], Any]] = {
    "ORM join": lambda session: session.execute(select(Book.title, Author.name).join(Book.author)),
    "two FROMs": lambda session: session.execute(select(Book.title, Author.name)),
    "outer join from the shared side": lambda session: session.execute(
        select(Author).outerjoin(Book, Book.author_id == Author.id)
    ),
    "has": lambda session: session.scalars(select(Book).where(Book.author.has(name="Ann"))),
    "in": lambda session: session.scalars(select(Book).where(Book.author_id.in_(select(Author.id)))),
    "exists": lambda session: session.scalars(select(Author).where(exists().where(Book.author_id == Author.id))),
    "scalar subquery": lambda session: session.execute(
        select(Book.id, select(Author.name).where(Author.id == Book.author_id).scalar_subquery())
    ),
    "lateral": lambda session: session.execute(
        select(Book.id, select(Author.name).where(Author.id == Book.author_id).lateral().c.name)
    ),
    "CTE": lambda session: session.execute(select(Book.id, select(Author.id).cte().c.id)),
    "joinedload": lambda session: session.scalars(select(Book).options(joinedload(Book.author))),
    "joinedload of a get": lambda session: session.get(Book, 1, options=[joinedload(Book.author)]),
    "joinedload below selectinload": lambda session: session.scalars(
        select(Copy).options(joinedload(Copy.book).joinedload(Book.author))
    ),
    "subqueryload": lambda session: session.scalars(select(Book).options(subqueryload(Book.author))).all(),
    "aliases": lambda session: session.execute(select(aliased(Book), aliased(Author))),
    "Core join": lambda session: session.execute(select(BOOKS.join(AUTHORS))),
    "Core, shared first": lambda session: session.execute(select(AUTHORS.c.id, BOOKS.c.id)),
    "union": lambda session: session.execute(union_all(select(BOOKS.c.id), select(AUTHORS.c.id))),
    "union, shared first": lambda session: session.execute(union_all(select(AUTHORS.c.id), select(BOOKS.c.id))),
    "insert from select": lambda session: session.execute(
        insert(BOOKS).from_select(["id", "title"], select(AUTHORS.c.id + 10, AUTHORS.c.name))
    ),
    "insert from select, to the shared side": lambda session: session.execute(
        insert(AUTHORS).from_select(["id", "name"], select(BOOKS.c.id + 10, BOOKS.c.title))
    ),
    "insert of a subquery": lambda session: session.execute(
        insert(Book).values(id=7, title=select(Author.name).limit(1).scalar_subquery())
    ),
    "upsert": lambda session: session.execute(
        upsert(BOOKS)
        .values(id=1, title="x")
        .on_conflict_do_update(index_elements=["id"], set_={"title": select(AUTHORS.c.name).limit(1).scalar_subquery()})
    ),
    "update from": lambda session: session.execute(
        update(Book).values(title=Author.name).where(Author.id == Book.author_id)
    ),
    "delete using": lambda session: session.execute(delete(BOOKS).where(BOOKS.c.author_id == AUTHORS.c.id)),
    "writing CTE": lambda session: session.execute(
        select(AUTHORS.c.id, delete(BOOKS).returning(BOOKS.c.id).cte().c.id)
    ),
    "executemany": lambda session: session.execute(
        update(BOOKS)
        .where(BOOKS.c.id == bindparam("b"))
        .values(title=select(AUTHORS.c.name).limit(1).scalar_subquery()),
        [{"b": 1}, {"b": 2}],
    ),
    "by a connection": lambda session: session.connection().execute(select(AUTHORS)),
    "of the tenant, by the other connection": lambda session: session.connection(
        bind_arguments={"mapper": inspect(Author)}
    ).execute(select(BOOKS)),
    "with text": lambda session: session.execute(select(text("1"), Book.id, Author.id)),
}


@pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")
def test_a_statement_over_two_databases_is_refused_before_it_is_sent(any_library: Callable[..., Any]) -> None:
    tenancy = any_library()
    sent: list[str] = []
    for name in ("main", "eu"):
        engine = tenancy.databases.engine(name)
        event.listen(engine, "after_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    for name, join in JOINS.items():
        with tenancy.session("berta") as session:
            with pytest.raises(CrossDatabaseError) as refused:
                in_sync(session, join)
            assert [each for each in sent if "shared.author" in each and "book" in each] == [], name
            assert (refused.value.tenant, refused.value.database) == ("berta", "eu"), name
            session.rollback()
            assert session.scalars(select(Book.title)).all() == ["B"], name
            assert session.scalars(select(Author.name).order_by(Author.id)).all() == ["Ann", "Bob"], name


@pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")
def test_a_tenant_in_the_main_database_joins_as_it_likes(library: Tenancy) -> None:
    for name, join in JOINS.items():
        if name != "upsert":  # SQLAlchemy writes the subquery's table without its schema
            with library.session("acme") as session:
                join(session)


def test_text_and_undeclared_tables_are_looked_up_in_the_tenants_database(library: Tenancy) -> None:
    undeclared = Table("author", MetaData(), Column("name", String), schema="shared")
    with library.session("berta") as session:
        assert session.execute(select(undeclared.c.name)).scalar_one() == "decoy"
        query = text("SELECT name FROM shared.author JOIN book ON author.id = author_id")
        assert session.execute(query).scalar_one() == "decoy"
        assert (
            session.execute(select(text("name")).select_from(table("author", schema="shared"))).scalar_one() == "decoy"
        )


def _write_both(session: Any) -> None:
    session.add(Book(id=2, title="C"))
    session.add(Author(id=3, name="Cleo"))
    session.flush()


WRITES: dict[str, Callable[[Any], Any]] = {
    "one flush": _write_both,
    "two flushes": lambda session: (session.execute(insert(Author).values(id=3, name="C")), session.add(Book(id=2, title="C")), session.flush()),
    "Core": lambda session: (session.execute(insert(BOOKS).values(id=2, title="C")), session.execute(delete(AUTHORS).where(AUTHORS.c.id == 2))),
    "bulk": lambda session: (
        session.bulk_insert_mappings(inspect(Book), [{"id": 2, "title": "C"}]),
        session.bulk_insert_mappings(inspect(Author), [{"id": 3, "name": "C"}]),
    ),
    "ORM update and a savepoint": lambda session: (
        session.execute(update(Book).values(title="D")),
        session.begin_nested(),
        session.execute(update(Author).values(name="D")),
    ),
    "writing CTE": lambda session: (
        session.execute(update(Book).values(title="D")),
        session.execute(select(update(AUTHORS).values(name="D").returning(literal(1).label("one")).cte().c.one)).all(),
    ),
}  # fmt: skip


def _rows(library: Tenancy) -> list[Any]:
    with library.session("berta") as session:
        return [session.execute(select(each).order_by(each.c.id)).all() for each in (BOOKS, AUTHORS)]


def test_a_transaction_that_writes_to_both_is_refused(any_library: Callable[..., Any], library: Tenancy) -> None:
    refusing, permitting = any_library(), any_library(cross_database_writes="separate")
    before = _rows(library)
    for name, write in WRITES.items():
        with refusing.session("berta") as session, pytest.raises(CrossDatabaseError, match="cross_database_writes"):
            in_sync(session, write)
        assert _rows(library) == before, name
        with permitting.session("berta") as session:
            in_sync(session, write)
            session.flush()
            books, authors = session.execute(select(BOOKS)).all(), session.execute(select(AUTHORS)).all()
            assert (books != before[0], authors != before[1]) == (True, True), name
    with permitting.session("berta") as session:
        in_sync(session, _write_both)
        session.commit()
    assert [len(rows) for rows in _rows(library)] == [2, 3]


def test_transactions_after_one_another_may_write_to_both(any_library: Callable[..., Any], library: Tenancy) -> None:
    with any_library().session("berta") as session:
        for number in (2, 3):
            session.add(Book(id=number, title="C"))
            session.commit()
            session.add(Author(id=10 + number, name="C"))
            session.commit()
            session.execute(delete(Book).where(Book.id == number))
            session.rollback()
            session.execute(delete(Author).where(Author.id == number))
            session.rollback()
    books, authors = _rows(library)
    assert (len(books), len(authors)) == (3, 4)


def test_two_phases_may_write_to_both(two_phase_server: URL) -> None:
    names = ("many_main", "many_eu")
    plain = two_phase_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
    with closing(make_library(*(two_phase_server.set(database=name) for name in names))) as library:
        for commits in (False, True):
            with library.session("berta", twophase=True) as session:
                _write_both(session)
                session.commit() if commits else session.rollback()
            books, authors = _rows(library)
            assert (len(books), len(authors)) == ((2, 3) if commits else (1, 2))
        with library.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_xacts").scalar() == 0


def test_nothing_of_a_tenant_is_left_on_connections_to_the_main_database(any_library: Callable[..., Any]) -> None:
    tenancy = any_library()
    asked = text("SELECT current_setting('search_path'), current_setting('tenantkit.x', true)")
    with tenancy.shared_session() as session:
        before = session.execute(asked).one()
    for _ in range(3):
        with tenancy.session("berta") as session:
            there = {"bind_arguments": {"mapper": inspect(Author)}}
            assert session.execute(asked, **there).one()[0] == before[0]
            session.execute(text("SET search_path = pg_catalog"), **there)
            session.execute(text("SET tenantkit.x = 'berta'"), **there)
            session.execute(text("RESET ALL"))
            assert session.scalars(text("SELECT title FROM book")).all() == ["B"]
            session.commit()
        with tenancy.shared_session() as session:
            path, own = session.execute(asked).one()
            assert (path, own or None) == (before[0], None)


def test_a_seed_writes_to_both_or_to_none(library: Tenancy) -> None:
    def seed(session: Any) -> None:
        session.add_all([Author(id=9, name="Dora"), Book(id=1, title=session.get(Author, 1).name)])
        session.flush()
        assert session.get(Author, 9) is not None
        if fails:
            raise ValueError("no")

    for fails in (True, False):
        with pytest.raises(ProvisioningError, match="seeding") if fails else nullcontext():
            library.create("cleo", database="eu", seed=seed)
        with library.shared_session() as session:
            assert len(session.scalars(select(Author)).all()) == (2 if fails else 3)
    with library.session("cleo") as session:
        assert session.scalars(select(Book.title)).all() == ["Ann"]


def test_keys_to_shared_tables_are_left_out_where_there_are_none(library: Tenancy) -> None:
    for name, schema, expected in (("main", "t_acme", 1), ("eu", "t_berta", 0)):
        keys = inspect(library.databases.engine(name)).get_foreign_keys("book", schema)
        assert len(keys) == expected
        assert len(inspect(library.databases.engine(name)).get_foreign_keys("copy", schema)) == 1
    assert Base.metadata.schema == "tenant"
    assert Shared.metadata.schema == "shared"
