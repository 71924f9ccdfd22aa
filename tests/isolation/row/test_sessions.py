"""Sessions of tenants in common tables: every way to read and write, each with a positive control.

Both tenants have rows of the same keys, and a third tenant of the same application has a schema of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy
from anyio.from_thread import BlockingPortal
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import aliased, joinedload, selectinload, subqueryload

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.drivers.asyncpg import Connection
from tests.isolation.row.conftest import APP, as_role, make_owner
from tests.isolation.row.models import APPLICATION, Account, Invoice, Kind, Plan, Tag, tagged
from tests.support.blocking import in_sync

KEYS = ("acme", "berta", "corp")


@pytest.fixture
def filled(app: Any) -> Any:
    """Each tenant has accounts 1 and 2, of which 2 belongs to 1, and invoice 1, whose amount says whose it is."""
    for number, key in enumerate(KEYS, 1):
        with app.session(key) as session:
            tag = Tag(id=1, name="tag")
            first = Account(id=1, name=key, tags=[tag], invoices=[Invoice(id=1, number="n", amount=number)])
            session.add_all([first, Account(id=2, name="second", parent_id=1, kind=Kind.PARTNER)])
            session.commit()
    return app


def _all(session: Any, statement: Any) -> list[Any]:
    return in_sync(session, lambda each: [tuple(row) for row in each.execute(statement)])


parent = aliased(Account)
invoices = select(Invoice.amount, Invoice.account_id).cte("mine")
# ruff: noqa: ARG005 - all take the number of the tenant
READS: dict[str, Callable[[int], tuple[Any, list[Any]]]] = {
    "columns": lambda n: (select(Invoice.amount), [(n,)]),
    "table": lambda n: (select(Invoice.__table__.c.amount), [(n,)]),
    "by key": lambda n: (select(Invoice.amount).where(Invoice.id == 1), [(n,)]),
    "join": lambda n: (select(Account.name, Invoice.amount).join(Invoice), [(KEYS[n - 1], n)]),
    "implicit join": lambda n: (select(Invoice.amount).where(Invoice.account_id == Account.id), [(n,)]),
    "outer join": lambda n: (
        select(Account.id, Invoice.amount).outerjoin(Invoice).order_by(Account.id),
        [(1, n), (2, None)],
    ),
    "group by a key": lambda n: (
        select(Account.name, func.count(Invoice.id)).outerjoin(Invoice).group_by(Account.id).order_by(Account.id),
        [(KEYS[n - 1], 1), ("second", 0)],
    ),
    "group by a key that an outer join may leave out": lambda n: (
        select(parent.name, func.count())
        .select_from(Account)
        .outerjoin(parent, Account.parent_id == parent.id)
        .group_by(parent.id)
        .order_by(parent.id),
        [(KEYS[n - 1], 1), (None, 1)],
    ),
    "group by a value that an outer join may leave out": lambda n: (
        select(parent.parent_id, func.count())
        .select_from(Account)
        .outerjoin(parent, Account.parent_id == parent.id)
        .group_by(parent.parent_id),
        [(None, 2)],
    ),
    "group by two keys, in a subquery": lambda n: (
        select(
            select(Account.name, Invoice.number, func.sum(Invoice.amount).label("amount"))
            .join(Invoice)
            .group_by(Account.id, Invoice.id)
            .subquery()
        ),
        [(KEYS[n - 1], "n", n)],
    ),
    "group by a key of two columns": lambda n: (
        select(tagged, func.count()).group_by(tagged.c.account_id, tagged.c.tag_id),
        [(1, 1, 1)],
    ),
    "outer join to an alias": lambda n: (
        select(Account.id, parent.name).outerjoin(parent, Account.parent_id == parent.id).order_by(Account.id),
        [(1, None), (2, KEYS[n - 1])],
    ),
    "full join": lambda n: (
        select(Account.id, Invoice.amount).join(Invoice, full=True).order_by(Account.id),
        [(1, n), (2, None)],
    ),
    "secondary": lambda n: (select(Account.name, Tag.name).join(Account.tags), [(KEYS[n - 1], "tag")]),
    "outer join to a join": lambda n: (
        select(Account.id, Tag.name).outerjoin(Account.tags).order_by(Account.id),
        [(1, "tag"), (2, None)],
    ),
    "subquery": lambda n: (select(select(Invoice.amount).subquery().c.amount), [(n,)]),
    "scalar subquery": lambda n: (select(select(Invoice.amount).scalar_subquery()), [(n,)]),
    "cte": lambda n: (select(invoices.c.amount), [(n,)]),
    "exists": lambda n: (select(Account.id).where(Account.invoices.any(Invoice.amount == n)), [(1,)]),
    "not exists": lambda n: (select(Account.id).where(~Account.invoices.any()), [(2,)]),
    "in": lambda n: (select(Account.id).where(Account.id.in_(select(Invoice.account_id))), [(1,)]),
    "union": lambda n: (union_all(select(Invoice.amount), select(Invoice.amount)), [(n,), (n,)]),
    "aggregate": lambda n: (select(func.count(), func.sum(Invoice.amount)).select_from(Invoice), [(1, n)]),
    "window": lambda n: (select(func.count().over()).select_from(Account), [(2,), (2,)]),
    "group": lambda n: (
        select(Account.parent_id, func.count()).group_by(Account.parent_id).order_by(Account.parent_id),
        [(1, 1), (None, 1)],
    ),
    "case": lambda n: (select(case((Invoice.amount == n, "own"), else_="other")), [("own",)]),
    "lateral": lambda n: (
        select(Account.id, select(Invoice.amount).where(Invoice.account_id == Account.id).lateral().c.amount),
        [(1, n)],
    ),
    "for update": lambda n: (select(Invoice.amount).with_for_update(), [(n,)]),
    "sample": lambda n: (select(aliased(Invoice, Invoice.__table__.tablesample(func.system(100))).amount), [(n,)]),
    "in portions": lambda n: (select(Account.id).order_by(Account.id).execution_options(yield_per=1), [(1,), (2,)]),
    "text": lambda n: (text("SELECT amount FROM invoice"), [(n,)]),
    "text of a table in both": lambda n: (select(text("amount")).select_from(Invoice), [(n,)]),
    "shared join": lambda n: (
        select(Account.id).outerjoin(Plan, Plan.name == Account.plan).order_by(Account.id),
        [(1,), (2,)],
    ),
}


def test_a_read_finds_the_rows_of_its_own_tenant(filled: Any) -> None:
    for number, key in enumerate(KEYS, 1):
        with filled.session(key) as session:
            for way, make in READS.items():
                statement, expected = make(number)
                assert _all(session, statement) == expected, way
                session.commit()
                assert _all(session, statement) == expected, way


def test_text_may_name_the_tenant_column_of_common_tables(filled: Any) -> None:
    for number, key in enumerate(KEYS[:2], 1):
        with filled.session(key) as session:
            assert _all(session, text("SELECT amount FROM invoice WHERE tenant_id > 0")) == [(number,)]


@pytest.mark.parametrize("load", [joinedload, selectinload, subqueryload, None])
def test_relationships_lead_to_rows_of_the_same_tenant(filled: Any, load: Any) -> None:
    for number, key in enumerate(KEYS, 1):
        options = [] if load is None else [load(Account.invoices), load(Account.tags), load(Account.parent)]
        with filled.session(key) as session:
            accounts = session.scalars(select(Account).options(*options).order_by(Account.id)).unique().all()
            found = in_sync(
                session,
                lambda _: [
                    (each.name, [invoice.amount for invoice in each.invoices], each.parent and each.parent.name)
                    for each in accounts  # noqa: B023 - called at once
                ],
            )
            assert found == [(key, [number], None), ("second", [], key)]
            assert session.get(Account, 1).name == key
            session.refresh(accounts[0])
            assert accounts[0].name == key


_Insert = postgresql.insert
WRITES: dict[str, Callable[[Any], Any]] = {
    "flush": lambda session: session.add(Account(id=3, name="new")),
    "several": lambda session: session.add_all([Account(id=3, name="new"), Account(id=4, name="newer")]),
    "numbered": lambda session: session.add(Account(name="new")),
    "core": lambda session: session.execute(insert(Account).values(id=3, name="new", kind=Kind.PARTNER)),
    "many": lambda session: session.execute(insert(Account), [{"id": 3, "name": "new"}, {"id": 4, "name": "newer"}]),
    "returning": lambda session: session.execute(
        insert(Account).returning(Account.id), [{"name": "new"}, {"name": "x"}]
    ).all(),
    "bulk mappings": lambda session: in_sync(
        session, lambda s: s.bulk_insert_mappings(Account, [{"id": 3, "name": "new", "kind": Kind.PARTNER}])
    ),
    "bulk objects": lambda session: in_sync(
        session, lambda s: s.bulk_save_objects([Account(id=3, name="new", kind=Kind.PARTNER)])
    ),
    "bulk update": lambda session: in_sync(
        session, lambda s: s.bulk_update_mappings(Account, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    ),
    "query": lambda session: in_sync(session, lambda s: s.query(Account).update({"name": Account.name + "x"})),
    "query and delete": lambda session: in_sync(session, lambda s: s.query(Invoice).delete()),
    "values": lambda session: session.execute(
        insert(Account.__table__).values([{"id": 3, "name": "new", "kind": Kind.PARTNER}])
    ),
    "from select": lambda session: session.execute(
        insert(Account).from_select(["id", "name", "kind"], select(Account.id + 10, Account.name + "x", Account.kind))
    ),
    "upsert": lambda session: session.execute(
        _Insert(Account)
        .values(id=1, name="upserted", kind=Kind.PARTNER)
        .on_conflict_do_update(index_elements=["id"], set_={"name": "upserted"})
    ),
    "upsert by a column": lambda session: session.execute(
        _Insert(Account)
        .values(id=3, name="second", kind=Kind.PARTNER)
        .on_conflict_do_update(index_elements=[Account.name], set_={"name": "upserted"})
    ),
    "upsert by a constraint": lambda session: session.execute(
        _Insert(Account)
        .values(id=3, name="second", kind=Kind.PARTNER)
        .on_conflict_do_update(constraint="account_name_key", set_={"name": "upserted"})
    ),
    "do nothing": lambda session: session.execute(
        _Insert(Account).values(id=1, name="x", kind=Kind.PARTNER).on_conflict_do_nothing(index_elements=["id"])
    ),
    "text": lambda session: session.execute(text("INSERT INTO account (id, name, kind) VALUES (3, 'new', 'PARTNER')")),
    "text without columns": lambda session: session.execute(text("INSERT INTO tag VALUES (3, 'new')")),
    "update": lambda session: session.execute(update(Account).values(name=Account.name + "x")),
    "update by key": lambda session: session.execute(update(Account).where(Account.id == 1).values(name="changed")),
    "update many": lambda session: session.execute(update(Account), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
    "update from": lambda session: session.execute(
        update(Account).where(Account.id == Invoice.account_id).values(name=literal("n") + Invoice.number)
    ),
    "update returning": lambda session: session.execute(update(Account).values(plan=None).returning(Account.id)).all(),
    "update in text": lambda session: session.execute(text("UPDATE account SET name = name || 'y'")),
    "delete": lambda session: session.execute(delete(Invoice)),
    "delete using": lambda session: session.execute(delete(Invoice).where(Invoice.account_id == Account.id)),
    "delete in text": lambda session: session.execute(text("DELETE FROM invoice")),
    "cascade": lambda session: session.execute(delete(tagged)),
    "merge statement": lambda session: session.execute(
        text("MERGE INTO tag USING tag AS o ON tag.id = o.id WHEN MATCHED THEN UPDATE SET name = 'merged'")
    ),
    "temporary table": lambda session: [
        session.execute(text(each))
        for each in (
            "CREATE TEMP TABLE load (id int, name text) ON COMMIT DROP",
            "INSERT INTO load VALUES (3, 'new')",
            "INSERT INTO tag (id, name) SELECT id, name FROM load",
        )
    ],
}


def _dump(engine: Engine, schema: str) -> dict[str, list[str]]:
    """Return all rows of a schema by table, as the superuser reads them."""
    with engine.connect() as connection:
        return {
            table: sorted(connection.exec_driver_sql(f"SELECT to_jsonb(t)::text FROM {schema}.{table} AS t").scalars())
            for table in ("account", "invoice", "tag", "tagged")
        }


def _of(dump: dict[str, list[str]], tenant: int) -> dict[str, list[str]]:
    return {table: [row for row in rows if f'"tenant_id": {tenant}' in row] for table, rows in dump.items()}


@pytest.mark.some_values(way=38)
@pytest.mark.parametrize("way", WRITES)
def test_a_write_changes_the_rows_of_its_own_tenant(filled: Any, engine: Engine, way: str) -> None:
    """It does to the rows of a tenant in common tables what it does in a schema of its own, and nothing to others'."""
    acme, berta = filled.get("acme").id, filled.get("berta").id
    with engine.connect() as connection:  # sequences are common, so that of the schema starts further on, too
        connection.exec_driver_sql("SELECT setval('t_corp.account_id_seq', 100), setval('rows.account_id_seq', 100)")
        connection.commit()
    before, schema_before = _dump(engine, "rows"), _dump(engine, "t_corp")
    for key in ("acme", "corp"):
        with filled.session(key) as session:
            WRITES[way](session)
            session.commit()
    after, schema_after = _dump(engine, "rows"), _dump(engine, "t_corp")
    assert _of(after, berta) == _of(before, berta)
    assert {table: len(rows) for table, rows in _of(after, acme).items()} == {
        table: len(rows) for table, rows in schema_after.items()
    }
    if way not in {"do nothing", "update returning"}:
        assert (_of(after, acme) != _of(before, acme), schema_after != schema_before) == (True, True)
    assert sum(map(len, after.values())) == sum(map(len, (*_of(after, acme).values(), *_of(after, berta).values())))


def test_a_unit_of_work_changes_the_rows_of_its_own_tenant(filled: Any, engine: Engine) -> None:
    berta = filled.get("berta").id
    before = _of(_dump(engine, "rows"), berta)
    with filled.session("acme") as session:

        def work(session: Any) -> None:
            first, second = session.get(Account, 1), session.get(Account, 2)
            second.parent = None
            second.invoices.append(first.invoices.pop())
            first.tags.clear()
            session.flush()
            session.delete(first)

        in_sync(session, work)
        session.commit()
        assert _all(session, select(Account.id, Account.parent_id)) == [(2, None)]
        assert _all(session, select(Invoice.account_id)) == [(2,)]
    assert _of(_dump(engine, "rows"), berta) == before


REFUSED: dict[str, tuple[str, str]] = {
    "a neighbour's value": ("INSERT INTO tag (id, name, tenant_id) VALUES (9, 'x', {berta})", "row-level security"),
    "a move to a neighbour": ("UPDATE tag SET tenant_id = {berta}", "row-level security"),
    "a key to a neighbour": (
        "INSERT INTO invoice (id, number, amount, account_id) VALUES (9, 'x', 1, 77)",
        "invoice_account_id_fkey",
    ),
    "truncate": ("TRUNCATE tag", "permission denied"),
    "setval": ("SELECT setval('account_id_seq', 1)", "permission denied"),
    "a policy": ("ALTER TABLE tag DISABLE ROW LEVEL SECURITY", "must be owner"),
    "no row security": ("SET LOCAL row_security = off; SELECT * FROM tag", "query would be affected"),
    "no tenant": ("SET LOCAL tenantkit.tenant = ''; SELECT * FROM tag", "no tenant is set"),
    "copy": ("COPY tag (id, name) FROM STDIN", "not supported with row-level security"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_would_reach_a_neighbour_is_refused_by_the_database(filled: Any, engine: Engine, way: str) -> None:
    statement, problem = REFUSED[way]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO rows.account (tenant_id, id, name, kind) VALUES ({filled.get('berta').id}, 77, 'hers', 'PARTNER')"
        )
    with filled.session("acme") as session:
        with pytest.raises(DBAPIError, match=problem):
            for each in statement.format(berta=filled.get("berta").id).split("; "):
                session.execute(text(each))
        session.rollback()
        assert _all(session, select(Tag.name)) == [("tag",)]


def test_unique_values_are_unique_for_each_tenant(filled: Any) -> None:
    with filled.session("acme") as session:
        session.add(Account(id=3, name="berta"))  # the name of the other's
        session.commit()
        session.add(Account(id=4, name="second"))
        with pytest.raises(IntegrityError, match="account_name_key"):
            session.commit()


def test_views_functions_and_triggers_see_the_tenant_only(filled: Any, pair: Any) -> None:
    with pair.engine.begin() as connection:
        for statement in (
            "CREATE VIEW rows.sums AS SELECT sum(amount) AS total FROM rows.invoice",
            "CREATE FUNCTION rows.total() RETURNS bigint LANGUAGE sql AS 'SELECT sum(amount) FROM rows.invoice'",
            "CREATE FUNCTION rows.total_by_owner() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT sum(amount) FROM rows.invoice'",
            "CREATE FUNCTION rows.count_tags() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := (SELECT count(*) FROM rows.tag); RETURN NEW; END $$",
            "CREATE TRIGGER count BEFORE INSERT ON rows.tag FOR EACH ROW EXECUTE FUNCTION rows.count_tags()",
        ):
            connection.exec_driver_sql(statement)
    for number, key in enumerate(KEYS[:2], 1):
        with filled.session(key) as session:
            assert _all(session, text("SELECT total, total(), total_by_owner() FROM sums")) == [
                (number, number, number)
            ]
            session.add(Tag(id=9, name=""))
            session.flush()
            assert _all(session, text("SELECT name FROM tag WHERE id = 9")) == [("1",)]


def test_the_setting_ends_with_the_transaction(filled: Any) -> None:
    with filled.session("acme") as session:
        asked = "SELECT current_setting('tenantkit.tenant', true)"
        assert _all(session, text(asked)) == [(str(session.tenant.id),)]
        session.commit()
        assert _all(session, text(asked)) == [(str(session.tenant.id),)]
    for _ in range(3):
        with filled.session("corp") as session:
            assert _all(session, text(asked)) in ([("",)], [(None,)])


def test_the_setting_holds_after_a_savepoint(filled: Any) -> None:
    for number, key in enumerate(KEYS, 1):
        with filled.session(key) as session:
            savepoint = session.begin_nested()
            with savepoint if hasattr(savepoint, "__enter__") else session.begin_nested() as nested:
                assert _all(session, text("SELECT amount FROM invoice")) == [(number,)]
                nested.rollback()
            assert _all(session, text("SELECT amount FROM invoice")) == [(number,)]
            assert _all(session, select(Invoice.amount)) == [(number,)]


def test_statements_are_prepared_once_for_all_tenants(filled: Any) -> None:
    """With the value as a literal there would be one for each tenant."""
    for _ in range(8):
        for key in ("acme", "berta"):
            with filled.session(key) as session:
                assert session.scalars(select(Invoice.amount).where(Invoice.id == 1)).all() == [KEYS.index(key) + 1]
                session.commit()  # psycopg forgets prepared statements with a rollback
    with filled.session("acme") as session:
        prepared = _all(
            session, text("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%invoice.id =%'")
        )
    own = [statement for (statement,) in prepared if "LIKE" not in statement]
    assert len(own) == 1
    assert "tenant_id = $" in own[0]


def test_the_criterion_stands_where_row_security_does_not(filled: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE rows.invoice DISABLE ROW LEVEL SECURITY")
        connection.exec_driver_sql("ALTER TABLE rows.account DISABLE ROW LEVEL SECURITY")
    for number, key in enumerate(KEYS[:2], 1):
        with filled.session(key) as session:
            for way, make in READS.items():
                if way.startswith(("text", "full")):
                    continue
                statement, expected = make(number)
                assert _all(session, statement) == expected, way
            session.execute(update(Invoice).values(amount=Invoice.amount))
            assert session.execute(delete(Invoice)).rowcount == 1
            session.rollback()


def test_copying_out_finds_the_rows_of_the_tenant(pair_url: Any) -> None:
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as tenancy:
        for key in KEYS:
            with tenancy.session(key) as session:
                session.add(Tag(id=1, name=key))
                session.commit()
        for key in KEYS:
            with tenancy.session(key) as session:
                session.flush()
                cursor: Any = session.connection().connection.cursor()
                for source in ("tag (name)", "(SELECT name FROM tag)"):
                    with cursor.copy(f"COPY {source} TO STDOUT") as copied:
                        assert b"".join(copied).decode() == f"{key}\n"


@pytest.mark.skipif(not hasattr(sqlalchemy, "CreateView"), reason="SQLAlchemy 2.0")
def test_a_view_of_the_metadata_has_no_criterion_of_its_own(url: Any) -> None:
    made = MetaData(schema="tenant")
    tag = Table("tag", made, Column("id", Integer, primary_key=True), Column("name", String))
    view = sqlalchemy.CreateView(select(tag.c.name), "names", metadata=made, schema="tenant")
    application = {"tenant": made, "listen": False}
    with closing(make_owner(url, shared=None, **application)) as owner:
        for key in ("one", "two"):
            owner.create(
                key, isolation="row", seed=lambda session, key=key: session.execute(tag.insert().values(id=1, name=key))
            )
    with closing(Tenancy(as_role(url, APP), **application)) as tenancy:
        for key in ("one", "two"):
            with tenancy.session(key) as session:
                assert session.execute(select(view.table.c.name)).scalars().all() == [key]


def test_a_table_that_stands_for_a_view_has_no_criterion_of_its_own(filled: Any, pair: Any) -> None:
    with pair.engine.begin() as connection:
        for schema in ("rows", "t_corp"):
            connection.exec_driver_sql(f"CREATE VIEW {schema}.names AS SELECT name FROM {schema}.tag")
    names = Table("names", MetaData(schema="tenant"), Column("name", String), info={"is_view": True})
    for key in KEYS:
        with filled.session(key) as session:
            assert _all(session, select(names.c.name)) == [("tag",)]


@pytest.mark.parametrize("command", ["BEGIN", "ROLLBACK"])
def test_a_task_cancelled_while_the_login_is_checked_leaves_no_transaction(
    pair_url: Any, engine: Engine, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """In a transaction that was left in the pool, the next session would commit a savepoint only."""
    login = as_role(pair_url, APP).set(drivername="postgresql+asyncpg")
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 10}
    execute = Connection.execute
    cancelled: list[bool] = []

    async def cancel_once(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
        is_first = query.startswith(command) and not cancelled
        done = None
        if not is_first or command == "BEGIN":
            done = await execute(connection, query, *arguments, **options)
        if is_first:
            task = asyncio.current_task()
            assert task
            cancelled.append(task.cancel())
            await asyncio.sleep(0)
        return done

    async def visit(tenancy: AsyncTenancy, number: int) -> None:
        async with tenancy.session("acme") as session:
            session.add(Tag(id=number, name="acme"))
            await session.commit()

    async def work() -> None:
        tenancy = AsyncTenancy(login, **APPLICATION, listen=False, engine_options=pool)
        await tenancy.get("acme")  # so that the first transaction is the check's
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "execute", cancel_once)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(visit(tenancy, 9))
        await visit(tenancy, 10)
        await tenancy.close()

    portal.call(work)
    assert cancelled == [True]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM rows.tag")).scalars().all() == [10]
