"""A session on a caller's connection restores it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Connection, event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.support.models import APPLICATION, Country, Project

PATH = "SELECT current_setting('search_path')"
MODES = ["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]


@pytest.fixture
def acme(filled_template: str, make_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """Two tenants, on two connections."""
    return make_tenancy(engine_options={"pool_size": 2, "max_overflow": 0, "pool_timeout": 5})


def reads(session: Session) -> None:
    assert session.scalars(select(Project.name)).all() == [session.info["key"]]


def reads_text(session: Session) -> None:
    assert session.scalars(text("SELECT name FROM project")).all() == [session.info["key"]]


def commits(session: Session) -> None:
    reads(session)
    session.commit()
    reads_text(session)


def rolls_back(session: Session) -> None:
    reads(session)
    session.rollback()
    reads_text(session)


def nests(session: Session) -> None:
    with session.begin_nested() as savepoint:
        reads_text(session)
        savepoint.rollback()
    reads_text(session)


def fails(session: Session) -> None:
    with pytest.raises(DBAPIError):
        session.execute(text("SELECT nothing FROM nowhere"))


def nothing(_session: Session) -> None:
    pass


USES = [reads, reads_text, commits, rolls_back, nests, fails, nothing]


def state(connection: Connection | None) -> Any:
    assert connection is not None
    return dict(connection.get_execution_options())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("mode", MODES)
def test_a_callers_connection_is_restored(acme: Tenancy, mode: str, use: Callable[[Session], None]) -> None:
    for begun in ("not at all", "begun", "used", "path"):
        check_restored(acme, mode, begun, use)


def check_restored(acme: Tenancy, mode: str, begun: str, use: Callable[[Session], None]) -> None:
    """Check that sessions of two tenants leave a caller's connection as it was."""
    with acme.engine.connect() as connection:
        connection.execution_options(logging_token="mine")
        if begun != "not at all":
            connection.begin()
        expected = '"$user", public'
        if begun in {"used", "path"}:
            connection.exec_driver_sql("SELECT 1")
        if begun == "path":
            connection.exec_driver_sql("SET LOCAL search_path TO shared")
            expected = "shared"
        before = state(connection)
        root = connection.get_transaction()
        for key in ("acme", "beta"):
            options: Any = {"bind": connection, "join_transaction_mode": mode, "info": {"key": key}}
            with acme.session(key, **options) as session:
                use(session)
                if root is not None and not root.is_active:
                    return  # the session has ended the caller's transaction, as the mode says
            assert state(connection) == before
        if root is not None and root.is_active and use is not fails:
            assert connection.exec_driver_sql(PATH).scalar_one() == expected
        if root is None:
            connection.rollback()
            assert connection.exec_driver_sql(PATH).scalar_one() == '"$user", public'


def test_a_connection_serves_plain_sessions_after_a_tenants(acme: Tenancy) -> None:
    with acme.engine.connect() as connection, connection.begin():
        with acme.session("acme", bind=connection, join_transaction_mode="create_savepoint") as session:
            assert session.scalars(select(Project.name)).all() == ["acme"]
        with Session(connection, join_transaction_mode="create_savepoint") as plain:
            with pytest.raises(DBAPIError, match=r"tenant\.project"), plain.begin_nested():
                plain.scalars(select(Project.name)).all()
            with pytest.raises(DBAPIError, match="project"), plain.begin_nested():
                plain.scalars(text("SELECT name FROM project")).all()
            query = plain.scalar(text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"))
            assert "tenant" not in query


def test_sessions_on_one_connection_may_end_in_any_order(acme: Tenancy) -> None:
    with acme.engine.connect() as connection, connection.begin():
        options: Any = {"bind": connection, "join_transaction_mode": "rollback_only"}
        ours, theirs, shared = acme.session("acme", **options), acme.session("beta", **options), None
        for session in (ours, theirs, ours):
            assert session.scalars(text("SELECT name FROM project")).all() == [session.tenant.key]
        ours.commit()  # otherwise close() would roll back the caller's transaction
        ours.close()
        assert theirs.scalars(text("SELECT name FROM project")).all() == ["beta"]
        shared = acme.shared_session(**options)
        assert shared.scalar(text(PATH)) == '"$user", public'
        assert shared.scalars(select(Country)).all() == []
        assert theirs.scalars(text("SELECT name FROM project")).all() == ["beta"]
        theirs.commit()
        theirs.close()
        shared.commit()
        shared.close()
        assert connection.exec_driver_sql(PATH).scalar_one() == '"$user", public'
        assert state(connection) == {}


def test_a_rollback_to_a_savepoint_does_not_change_the_path_of_another_tenant(acme: Tenancy) -> None:
    with acme.engine.connect() as connection, connection.begin():
        options: Any = {"bind": connection, "join_transaction_mode": "rollback_only"}
        with acme.session("acme", **options) as ours, acme.session("beta", **options) as theirs:
            names = text("SELECT name FROM project")
            for session in (theirs, ours):
                assert session.scalars(names).all() == [session.tenant.key]
            ours.execute(text("SAVEPOINT here"))
            assert theirs.scalars(names).all() == ["beta"]
            theirs.execute(text("ROLLBACK TO SAVEPOINT here"))
            assert theirs.scalars(names).all() == ["beta"]
            for session in (theirs, ours, theirs):
                assert session.scalars(names).all() == [session.tenant.key]
                session.commit()


def test_state_of_the_session_ends_with_the_callers_transaction(acme: Tenancy) -> None:
    with acme.engine.connect() as connection:
        with connection.begin(), acme.session("acme", bind=connection) as session:
            session.execute(text("SET app.who = 'acme'"))
            session.execute(text("CREATE TEMP TABLE leftover ()"))
        left = "SELECT current_setting('app.who', true), to_regclass('pg_temp.leftover')"
        assert connection.exec_driver_sql(left).one() == ("", None)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_an_asynchronous_session_restores_the_connection(
    acme: Tenancy, database: URL, portal: BlockingPortal, driver: str
) -> None:
    async def use() -> None:
        tenancy = AsyncTenancy(database.set(drivername=f"postgresql+{driver}"), listen=False, **APPLICATION)
        async with tenancy.engine.connect() as connection, connection.begin():
            async with tenancy.session("acme", bind=connection) as session:
                assert (await session.scalars(text("SELECT name FROM project"))).all() == ["acme"]
            assert (await connection.exec_driver_sql(PATH)).scalar_one() == '"$user", public'
            assert state(connection.sync_connection) == {}
        await tenancy.close()

    portal.call(use)


def test_the_path_holds_in_each_of_the_callers_transactions_or_there_is_an_error(acme: Tenancy) -> None:
    with acme.engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS public.project AS SELECT 'public' AS name")
        connection.commit()
        session = acme.session("acme", bind=connection)
        seen = set()
        for _ in range(3):
            with connection.begin(), suppress(ConfigurationError):
                seen |= set(session.scalars(text("SELECT name FROM project")))
        session.close()
        assert seen == {"acme"}


def test_a_session_on_the_connection_of_another_session_is_refused(acme: Tenancy) -> None:
    with acme.session("acme") as ours:
        for other in (
            acme.session("beta", bind=ours.connection(), join_transaction_mode="create_savepoint"),
            acme.shared_session(bind=ours.connection(), join_transaction_mode="create_savepoint"),
        ):
            with other, pytest.raises(ConfigurationError, match="another tenantkit session"):
                other.execute(text("SELECT 1"))
        assert ours.scalars(text("SELECT name FROM project")).all() == ["acme"]
        assert ours.scalars(select(Project.name)).all() == ["acme"]


def test_a_flush_does_not_interleave_with_statements_of_another_session(acme: Tenancy) -> None:
    with acme.engine.connect() as connection, connection.begin():
        options: Any = {"bind": connection, "join_transaction_mode": "create_savepoint"}
        with acme.session("acme", **options) as ours, acme.session("beta", **options) as theirs:
            theirs.scalars(select(Project.name)).all()

            def inserting(*_: object) -> None:
                theirs.scalars(text("SELECT name FROM project")).all()

            event.listen(Project, "before_insert", inserting)
            try:
                ours.add(Project(name="new"))
                with pytest.raises(ConfigurationError, match="flush"):
                    ours.flush()
            finally:
                event.remove(Project, "before_insert", inserting)
            ours.rollback()


ENDS: dict[str, Callable[[Session], object]] = {
    "reset": lambda session: session.reset(),
    "invalidate": lambda session: session.invalidate(),
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "garbage": lambda _session: None,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_has_its_options_after_every_end_of_a_session(acme: Tenancy, end: str) -> None:
    with acme.engine.connect() as connection:
        session = acme.session("acme", bind=connection)
        session.scalars(select(Project.name)).all()
        ENDS[end](session)
        del session
        if end == "garbage":
            gc.collect()  # a collection takes a second
        assert state(connection) == {}


@pytest.mark.all_cases
def test_callers_connections_are_not_referenced_after_the_session(acme: Tenancy) -> None:
    kept = []
    for _ in range(3):
        connection = acme.engine.connect()
        session = acme.session("acme", bind=connection)
        session.scalars(select(Project.name)).all()
        connection.close()
        kept.append(weakref.ref(connection))
        del session, connection
    gc.collect()
    assert [each() for each in kept] == [None] * 3


def test_an_unusual_path_of_the_caller_is_restored(acme: Tenancy) -> None:
    with acme.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("SET LOCAL search_path TO \"50%%s\", 'a b'")
        before = connection.exec_driver_sql(PATH).scalar_one()
        with acme.session("acme", bind=connection, join_transaction_mode="create_savepoint") as session:
            assert session.scalars(text("SELECT name FROM project")).all() == ["acme"]
        assert connection.exec_driver_sql(PATH).scalar_one() == before


def test_a_text_that_prepares_a_statement_does_not_break_the_callers_connection(
    acme: Tenancy, database: URL, portal: BlockingPortal
) -> None:
    async def use() -> None:
        tenancy = AsyncTenancy(database.set(drivername="postgresql+asyncpg"), listen=False, **APPLICATION)
        async with tenancy.engine.connect() as connection:
            for _ in range(3):
                async with connection.begin(), tenancy.session("acme", bind=connection) as session:
                    assert (await session.scalars(text("SELECT name FROM project"))).all() == ["acme"]
                    await session.execute(text("PREPARE leftover AS SELECT 1"))
        await tenancy.close()

    portal.call(use)
    with acme.engine.connect() as connection:
        for _ in range(9):
            with connection.begin(), acme.session("acme", bind=connection) as session:
                assert session.scalars(text("SELECT name FROM project")).all() == ["acme"]
                session.execute(text("PREPARE leftover AS SELECT 1"))
