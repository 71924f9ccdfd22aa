"""A removed tenant keeps no rows: neither of a transaction that was open during its removal, nor of a later one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from tenantkit import Tenancy
from tenantkit.lifecycle import drop as removal
from tests.isolation.row.models import Account, Kind, Tag
from tests.support.blocking import in_sync

_WAITS = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
)
_new = postgresql.insert(Tag).values(id=3, name="new")
INSERTS: dict[str, Callable[[Any], Any]] = {
    "flush": lambda session: session.add(Tag(id=3, name="new")),
    "many": lambda session: session.execute(insert(Tag), [{"id": 3, "name": "new"}, {"id": 4, "name": "newer"}]),
    "from select": lambda session: session.execute(
        insert(Tag).from_select(["id", "name"], select(Tag.id + 9, Tag.name + "x"))
    ),
    "upsert": lambda session: session.execute(
        _new.on_conflict_do_update(index_elements=["id"], set_={"name": "upserted"})
    ),
    "text": lambda session: session.execute(text("INSERT INTO tag (id, name) VALUES (3, 'new')")),
    "text with the column": lambda session: session.execute(
        text(f"INSERT INTO tag (tenant_id, id, name) VALUES ({session.tenant.id}, 3, 'new')")
    ),
    "merge": lambda session: session.execute(
        text("MERGE INTO tag USING (SELECT 3 AS id) AS n ON tag.id = n.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (3, 'n')")
    ),
    "cte": lambda session: session.execute(
        text("WITH made AS (INSERT INTO tag (id, name) VALUES (3, 'new') RETURNING id) SELECT id FROM made")
    ),
    "function": lambda session: session.execute(text("SELECT add_tag(3)")),
}  # fmt: skip


@pytest.fixture
def prepared(app: Any, pair: Tenancy, engine: Engine) -> Any:
    """The application's tenancy; both tenants have a tag, and there is a function that inserts one."""
    for key in ("acme", "berta"):
        with app.session(key) as session:
            session.add_all([Tag(id=1, name=key), Account(id=1, name=key, kind=Kind.PARTNER)])
            session.commit()
    with pair.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION rows.add_tag(number int) RETURNS void LANGUAGE sql AS "
            "'INSERT INTO rows.tag (id, name) VALUES (number, ''new'')'"
        )
    return app


@pytest.fixture(params=INSERTS)
def insert_rows(request: pytest.FixtureRequest, engine: Engine) -> Callable[[Any], Any]:
    """A way to insert a tag."""
    engine.connect().close()
    if request.param == "merge" and (engine.dialect.server_version_info or ()) < (15,):
        pytest.skip("PostgreSQL 14 has no MERGE")
    return INSERTS[request.param]


def _tenants_with_tags(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT tenant_id FROM rows.tag").scalars())


def _flush(session: Any) -> None:
    in_sync(session, lambda each: each.flush())


def test_a_removal_waits_for_rows_that_are_not_committed_yet(
    prepared: Any, pair: Tenancy, engine: Engine, insert_rows: Callable[[Any], Any]
) -> None:
    acme, berta = (pair.get(key).id for key in ("acme", "berta"))
    with ThreadPoolExecutor(1) as thread, prepared.session("acme") as session:
        insert_rows(session)
        _flush(session)
        dropping: Future[Any] = thread.submit(pair.drop, "acme")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            while not dropping.done() and not other.scalar(_WAITS):
                pass
        with prepared.session("berta") as another:
            another.add(Tag(id=9, name="meanwhile"))
            another.commit()
        assert not dropping.done()
        session.commit()
        assert dropping.result().key == "acme"
    assert _tenants_with_tags(engine) == {berta}
    assert acme not in [tenant.id for tenant in pair.list()]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_session_of_a_removed_tenant_adds_no_rows(
    prepared: Any, pair: Tenancy, engine: Engine, insert_rows: Callable[[Any], Any], level: str
) -> None:
    berta = pair.get("berta").id
    with prepared.session("acme") as session:
        session.execute(text(f"SET TRANSACTION ISOLATION LEVEL {level}"))
        assert session.scalars(select(Tag.name)).all() == ["acme"]  # with a snapshot in which the tenant exists
        pair.drop("acme")
        with pytest.raises(DBAPIError, match="was removed|could not serialize"):
            _act(session, insert_rows)
        session.rollback()
        assert session.scalars(select(Tag.name)).all() == []
        with pytest.raises(DBAPIError, match="was removed"):
            _act(session, insert_rows)
    assert _tenants_with_tags(engine) == {berta}


def _act(session: Any, insert_rows: Callable[[Any], Any]) -> None:
    insert_rows(session)
    _flush(session)
    session.commit()


def test_a_removal_that_has_begun_lets_no_rows_in(
    prepared: Any, pair: Tenancy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "finish", lambda *_: None)
    with prepared.session("acme") as session:
        pair.drop("acme")  # the status is committed, and the process dies
        with pytest.raises(DBAPIError, match="was removed"):
            _act(session, INSERTS["flush"])
    monkeypatch.undo()
    pair.repair()
    assert _tenants_with_tags(engine) == {pair.get("berta").id}


def test_a_change_of_a_tenant_does_not_wait_for_its_transactions(prepared: Any, pair: Tenancy) -> None:
    with prepared.session("acme") as session:
        INSERTS["flush"](session)
        _flush(session)
        pair.update("acme", name="Acme")
        pair.suspend("acme")
        session.commit()
    pair.resume("acme")
    with prepared.session("acme") as session:
        assert session.scalars(select(Tag.name).order_by(Tag.id)).all() == ["acme", "new"]
