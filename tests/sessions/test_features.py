"""A tenant session has the features of an ordinary session, for every tenant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, delete, event, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session, joinedload, scoped_session, selectinload, subqueryload

from tenantkit import Tenancy, TenantSession, tenant_context
from tests.support.blocking import in_sync
from tests.support.models import Country, Project, State, Task

KEYS = ("acme", "beta")


@pytest.fixture(scope="session")
def filled_template(make_pair: Callable[..., str]) -> str:
    def seed(session: TenantSession) -> None:
        key = session.tenant.key
        session.merge(Country(code="PT", name="Portugal"))
        session.add(Project(name=key, country_code="PT", tasks=[Task(title=f"{key} {number}") for number in (1, 2)]))

    return make_pair(seed)


@pytest.fixture
def tenants(filled_template: str, any_tenancy: Any) -> Any:
    """Two tenants with rows of equal primary keys, which have the key of their tenant."""
    return any_tenancy


def test_equal_primary_keys_are_different_rows(tenants: Any) -> None:
    with tenants.session("acme") as acme, tenants.session("beta") as beta:
        ours, theirs = acme.get(Project, 1), beta.get(Project, 1)
        assert (ours.name, theirs.name) == ("acme", "beta")
        ours.name = "changed"
        acme.commit()
        beta.refresh(theirs)
        assert theirs.name == "beta"


def test_flush_and_refresh_work_across_commits(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            project = Project(name=f"{key} two")
            session.add(project)
            session.flush()
            session.refresh(project)
            session.commit()
            project.name = f"{key} three"
            session.commit()
            session.refresh(project)
            assert project.name == f"{key} three"
            session.delete(project)
            session.commit()
            assert session.scalars(select(Project.name)).all() == [key]


@pytest.mark.parametrize("load", [joinedload, selectinload, subqueryload])
def test_eager_loads_stay_with_the_tenant(tenants: Any, load: Callable[..., Any]) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            query = select(Project).options(load(Project.tasks), joinedload(Project.country))
            project = session.scalars(query).unique().one()
            assert [task.title for task in project.tasks] == [f"{key} 1", f"{key} 2"]
            assert project.country.name == "Portugal"


def test_expired_and_unloaded_attributes_are_loaded_from_the_tenant(tenants: Any) -> None:
    def lazily(session: Session) -> tuple[str, list[str], str | None]:
        project = session.get_one(Project, 1)
        session.commit()
        country = project.country
        return project.name, [task.title for task in project.tasks], country.name if country else None

    for key in KEYS:
        with tenants.session(key) as session:
            expected = (key, [f"{key} 1", f"{key} 2"], "Portugal")
            assert in_sync(session, lazily) == expected


def test_bulk_statements_stay_with_the_tenant(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            rows = [{"id": number, "title": f"{key} {number}", "project_id": 1} for number in range(10, 60)]
            made = session.scalars(insert(Task).returning(Task.id, sort_by_parameter_order=True), rows).all()
            assert made == list(range(10, 60))
            session.execute(update(Task), [{"id": number, "title": f"{key} again"} for number in (10, 11)])
            session.execute(update(Task).where(Task.id == 12).values(state=State.DONE))
            session.execute(delete(Task).where(Task.id > 12))
            session.commit()
            by_title = text("SELECT count(*) FROM task WHERE title = :title")
            assert session.scalar(by_title, {"title": f"{key} again"}) == 2
            assert session.scalars(select(Task.id).where(Task.state == State.DONE)).all() == [12]
            session.execute(
                update(Task.__table__).where(Task.__table__.c.id == bindparam("which")).values(title="core"),
                [{"which": 10}],
            )
            session.commit()
    for key in KEYS:
        with tenants.session(key) as session:
            titles = session.scalars(select(Task.title).order_by(Task.id)).all()
            assert titles == [f"{key} 1", f"{key} 2", "core", f"{key} again", f"{key} 12"]


def test_upserts_update_the_tenants_own_rows(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            statement = upsert(Project).values(name=key, country_code=None)
            statement = statement.on_conflict_do_update(
                index_elements=["name"], set_={"country_code": statement.excluded.country_code}
            ).returning(Project.id)
            assert session.scalars(statement).one() == 1
            session.commit()
            assert session.scalar(select(Project.country_code)) is None


def test_a_rollback_to_a_savepoint_keeps_earlier_changes(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            session.add(Project(id=7, name=f"{key} kept"))
            session.flush()
            with pytest.raises(IntegrityError), session.begin_nested():
                session.add(Project(id=8, name=key))
                session.flush()
            session.commit()
            assert session.scalars(text("SELECT name FROM project ORDER BY id")).all() == [key, f"{key} kept"]


def test_results_can_be_streamed(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            session.execute(insert(Task), [{"title": key, "project_id": 1} for _ in range(250)])
            session.commit()
            declared = select(Task.title).where(Task.id > 2)
            assert in_sync(session, partial(partitions, statement=declared)) == [[key] * 100, [key] * 100, [key] * 50]
            textual = text("SELECT title FROM task WHERE id > 2")
            assert in_sync(session, partial(partitions, statement=textual)) == [[key] * 100, [key] * 100, [key] * 50]


def partitions(session: Session, statement: Any) -> list[list[str]]:
    result = session.scalars(statement, execution_options={"yield_per": 100})
    return [list(partition) for partition in result.partitions(100)]


def test_merged_and_refreshed_values_go_to_the_tenant(tenants: Any) -> None:
    for key in KEYS:
        with tenants.session(key) as session:
            session.merge(Project(id=1, name=f"{key} merged"))
            session.commit()
    for key in KEYS:
        with tenants.session(key) as session:
            assert session.scalar(select(Project.name)) == f"{key} merged"


def test_a_closed_session_cannot_be_used(tenants: Any) -> None:
    with tenants.session("acme") as session:
        session.scalar(select(Project.name))
    with pytest.raises(InvalidRequestError, match="closed"):
        session.scalar(select(Project.name))
    with pytest.raises(InvalidRequestError, match="closed"):
        session.commit() or session.get(Project, 1)


def test_the_session_knows_its_tenant(tenants: Any) -> None:
    with tenants.session("acme") as session:
        assert session.tenant == tenants.get("acme")


def test_shared_rows_are_the_same_for_all(tenants: Any) -> None:
    with tenants.session("acme") as session:
        session.get(Country, "PT").name = "Portugal!"
        session.commit()
    with tenants.session("beta") as session:
        assert session.scalar(select(Country.name)) == "Portugal!"
    with tenants.shared_session() as session:
        assert session.scalar(select(Country.name)) == "Portugal!"


# Features of the synchronous tenancy only.


@pytest.fixture
def acme(filled_template: str, tenancy: Tenancy) -> Tenancy:
    return tenancy


def test_the_sessionmaker_takes_the_current_tenant(acme: Tenancy) -> None:
    for key in KEYS:
        with tenant_context(acme.get(key)), acme.sessionmaker() as session:
            assert session.scalars(select(Project.name)).all() == [key]
        with acme.sessionmaker(tenant=acme.get(key)) as session, session.begin():
            session.add(Project(name="more"))
        with acme.sessionmaker(tenant=key) as session:
            assert session.scalar(select(func.count()).select_from(Project)) == 2


def test_a_scoped_session_serves_the_tenant_that_was_current_when_it_began(acme: Tenancy) -> None:
    registry = scoped_session(acme.sessionmaker)
    for key in KEYS:
        with tenant_context(acme.get(key)):
            assert registry.scalars(select(Project.name)).all() == [key]
            registry.remove()


def test_copy_reaches_the_tenant(tenancy: Tenancy, engine: Engine) -> None:
    for key in KEYS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            driver: Any = session.connection().connection.driver_connection
            with driver.cursor().copy("COPY project (id, name) FROM STDIN") as copy:
                for number in range(100):
                    copy.write_row((number, f"{key} {number}"))
            session.commit()
    with engine.connect() as connection:
        for key in KEYS:
            names = connection.exec_driver_sql(f"SELECT name FROM t_{key}.project").scalars().all()
            assert {name.split()[0] for name in names} == {key}
            assert len(names) == 100


def test_a_session_sends_no_additional_statements(acme: Tenancy) -> None:
    sent: list[str] = []
    with acme.session("acme") as session:
        driver: Any = session.connection().connection.driver_connection
        driver.prepare_threshold = None
        session.rollback()
        # On the driver, below tenantkit.
        cursor_class = driver.cursor_factory

        class Recording(cursor_class):  # type: ignore[valid-type]
            def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                sent.append(query)
                return super().execute(query, *args, **options)

        driver.cursor_factory = Recording
        try:
            project = session.scalars(select(Project)).one()
            project.name = "changed"
            session.flush()
            with session.begin_nested():
                session.execute(update(Project).values(country_code=None))
            session.commit()
            session.refresh(project)
            declared = len(sent)
            session.execute(text("SELECT 1"))
            session.execute(text("SELECT 2"))
        finally:
            driver.cursor_factory = cursor_class
    assert declared == 6  # select, update, savepoint, update, release, select
    assert len(sent) == 8
    assert not any("search_path" in statement for statement in sent)


def test_listeners_of_the_application_get_its_own_statements_only(acme: Tenancy) -> None:
    seen: list[str] = []
    tenant = acme.get("acme")
    event.listen(acme.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    with acme.session(tenant) as session:
        session.execute(text("SELECT 1"))
        session.scalar(select(Project.name))
    assert seen == ["SELECT 1", "SELECT t_acme.project.name \nFROM t_acme.project"]
