"""The next transaction on a connection finds no state of the one before, with and without a pooler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import Tenancy
from tests.sessions.leftovers import BODIES, LAST_VALUE, LEFT, LEFTOVERS, NOTHING


@pytest.fixture
def reached(make_reached: Callable[..., Any], tenancy: Tenancy) -> Any:
    """A tenancy with two tenants on one server connection, reached directly or by a PgBouncer in transaction mode."""
    for key in ("acme", "beta"):
        tenancy.create(key)
    return make_reached()


def executable(leftover: Any) -> Any:
    return text(leftover) if isinstance(leftover, str) else leftover


def finish(session: Any, end: str) -> None:
    if end == "failed commit":
        session.execute(text("CREATE TABLE IF NOT EXISTS once (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
        session.commit()
        session.execute(text("INSERT INTO once VALUES (1), (1)"))
        with pytest.raises(DBAPIError):
            session.commit()
    elif end:
        getattr(session, end)()


def looks_clean(open_session: Callable[[], Any]) -> None:
    with open_session() as session:
        assert session.execute(LEFT).one() == NOTHING
        with pytest.raises(DBAPIError, match="lastval"):
            session.execute(LAST_VALUE)


@pytest.mark.parametrize("end", ["commit", "rollback", "failed commit", ""])
def test_the_next_user_of_a_connection_finds_nothing_left_on_it(reached: Any, end: str) -> None:
    for leftover in LEFTOVERS.values():
        with reached.session("acme") as session:
            session.execute(executable(leftover))
            finish(session, end)
        looks_clean(lambda: reached.session("beta"))
        looks_clean(reached.shared_session)


def test_the_next_transaction_of_the_same_session_finds_nothing_left(reached: Any) -> None:
    for leftover in LEFTOVERS.values():
        with reached.session("acme") as session:
            session.execute(executable(leftover))
            session.commit()
            assert session.execute(LEFT).one()[2:] == NOTHING[2:]


def test_a_session_for_shared_tables_leaves_nothing_for_a_tenant(reached: Any) -> None:
    for leftover in LEFTOVERS.values():
        if "nextval" not in str(leftover):
            with reached.shared_session() as session:
                session.execute(executable(leftover))
                session.commit()
            looks_clean(lambda: reached.session("beta"))


ROUTINES = {
    "function": (
        "CREATE FUNCTION leave() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN 1; END $$",
        "SELECT leave()",
    ),
    "procedure": ("CREATE PROCEDURE leave() LANGUAGE plpgsql AS $$ BEGIN {body}; END $$", "CALL leave()"),
    "trigger": (
        "CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN new; END $$",
        "INSERT INTO project (name) VALUES ('x')",
    ),
}


def test_routines_and_triggers_leave_nothing_on_the_connection(reached: Any, engine: Engine) -> None:
    for (kind, (create, use)), body in product(ROUTINES.items(), BODIES.values()):
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL search_path TO t_acme")
            connection.exec_driver_sql(create.format(body=body).replace("%", "%%"))
            if kind == "trigger":
                connection.exec_driver_sql(
                    "CREATE TRIGGER leave BEFORE INSERT ON project FOR EACH ROW EXECUTE FUNCTION leave()"
                )
        with reached.session("acme") as session:
            session.execute(text(use))
            session.commit()
        looks_clean(lambda: reached.session("beta"))
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP ROUTINE t_acme.leave CASCADE")
            connection.exec_driver_sql("DELETE FROM t_acme.project")


def test_a_plain_session_on_the_engine_finds_nothing_left(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    for leftover in LEFTOVERS.values():
        with tenancy.session("acme") as session, tenancy.session("acme") as second:
            for each in (session, second):
                if "advisory" not in str(leftover):
                    each.execute(executable(leftover))
                    each.commit()
        with Session(tenancy.engine) as plain, Session(tenancy.engine) as other:
            for each in (plain, other):
                assert each.execute(LEFT).one() == NOTHING


def test_a_connection_with_leftovers_returns_to_the_pool(reached: Any) -> None:
    pids = set()
    for leftover in LEFTOVERS.values():
        if "PREPARE" not in str(leftover):
            with reached.session("acme") as session:
                session.execute(executable(leftover))
                pids.add(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
                session.commit()
    assert len(pids) == 1
