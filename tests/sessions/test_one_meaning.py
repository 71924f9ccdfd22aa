"""A statement has the same result at each place in a transaction, and after any other on the connection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.sessions.meaning import KEYS, PROBES, Base, prepare, whose_columns
from tests.support.blocking import in_sync

POOL = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}


def nests(session: Session) -> None:
    session.begin_nested()


def returns(session: Session) -> None:
    if (savepoint := session.get_nested_transaction()) is not None:
        savepoint.rollback()


def releases(session: Session) -> None:
    if (savepoint := session.get_nested_transaction()) is not None:
        savepoint.commit()


def fails(session: Session) -> None:
    with suppress(DBAPIError), session.begin_nested():
        session.execute(text("SELECT nothing FROM nowhere"))


def says(statement: str) -> Callable[[Session], None]:
    def say(session: Session) -> None:
        session.execute(text(statement))

    return say


NOISE: dict[str, Callable[[Session], None]] = {
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "nests": nests,
    "returns": returns,
    "releases": releases,
    "fails": fails,
    "reset all": says("RESET ALL"),
    "reset path": says("/* back */ RESET search_path"),
    "default path": says('SET LOCAL "search_path" TO DEFAULT'),
    "reset in a block": says("DO $$ BEGIN RESET ALL; END $$"),
    "setting": says("SET app.who = 'somebody'"),
    "local setting": says("SET LOCAL statement_timeout = '1min'"),
    "role": says("SET ROLE NONE"),
    "temporary table": says("CREATE TEMP TABLE IF NOT EXISTS note AS SELECT 'temporary' AS body"),
    "temporary type": says("CREATE TEMP TABLE IF NOT EXISTS priority AS SELECT 1 AS high"),
    "savepoint in text": says("SAVEPOINT here"),
}

STEPS = {**{f"probe {name}": None for name in PROBES}, **NOISE}
VISITS = st.lists(st.tuples(st.sampled_from(KEYS), st.lists(st.sampled_from(sorted(STEPS)), max_size=10)), max_size=4)


@pytest.fixture
def prepared(make_any_tenancy: Callable[..., Any], engine: Engine) -> Any:
    return prepare(make_any_tenancy, engine, engine_options=POOL)


@pytest.fixture
def reached(make_reached: Callable[..., Any], make_tenancy: Callable[..., Any], engine: Engine) -> Any:
    """The application, reached directly or by a PgBouncer in transaction mode."""
    prepare(make_tenancy, engine)
    return make_reached(tenant=Base.metadata, shared=None, extra_schemas=["ext"])


def visit(session: Session, key: str, steps: list[str]) -> None:
    for number, name in enumerate(steps):
        if name in NOISE:
            NOISE[name](session)
        else:
            found = PROBES[name.removeprefix("probe ")](session)
            assert found == key, f"{name} found {found} after {steps[:number]}"


@pytest.mark.parametrize("name", PROBES)
def test_a_statement_has_the_same_result_before_and_after_any_other(prepared: Any, name: str) -> None:
    probe = f"probe {name}"
    for steps in ([probe], ["probe text", probe], [probe, "reset all", probe, "commit", probe]):
        for key in (*KEYS, *KEYS):
            with prepared.session(key) as session:
                in_sync(session, lambda sync, key=key, steps=steps: visit(sync, key, steps))


def test_reflection_sees_the_tenants_tables(prepared: Any) -> None:
    with prepared.session("acme") as session:
        assert in_sync(session, lambda sync: whose_columns(sync.connection()))


def test_statements_in_any_order_have_the_same_results_as_alone(reached: Any) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(VISITS)
    def check(visits: list[tuple[str, list[str]]]) -> None:
        for key, steps in visits:
            with reached.session(key) as session:
                in_sync(session, lambda sync, key=key, steps=steps: visit(sync, key, steps))

    check()


def test_prepared_statements_serve_one_tenant_only(reached: Any) -> None:
    for _ in range(8):  # both drivers prepare frequent statements
        for key in KEYS:
            with reached.session(key) as session:
                in_sync(session, lambda sync, key=key: visit(sync, key, [f"probe {name}" for name in PROBES]))
