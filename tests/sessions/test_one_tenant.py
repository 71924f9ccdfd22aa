"""A session serves one tenant for its whole life, and without a tenant there is no session."""

from __future__ import annotations

import gc
import pickle
import re
import weakref
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Enum,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    cast,
    column,
    create_engine,
    delete,
    event,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session, aliased, joinedload, registry, scoped_session, with_parent
from sqlalchemy.orm.loading import merge_frozen_result

from tenantkit import (
    ConfigurationError,
    NoCurrentTenantError,
    Status,
    Tenancy,
    TenantMismatchError,
    TenantNotFoundError,
    TenantUnavailableError,
    tenant_context,
)
from tests.support.blocking import in_sync
from tests.support.models import Country, Project, Task

KEYS = ("acme", "beta")


@pytest.fixture(scope="session")
def filled_template(make_pair: Callable[..., str]) -> str:
    def seed(session: Session) -> None:
        session.merge(Country(code="PT", name="Portugal"))
        session.add(Project(name="first", country_code="PT", tasks=[Task(title="begin")]))

    return make_pair(seed)


@pytest.fixture
def acme(filled_template: str, tenancy: Tenancy) -> Tenancy:
    """Two tenants with rows of equal primary keys."""
    return tenancy


def test_without_a_tenant_nothing_is_sent(any_tenancy: Any) -> None:
    sent: list[str] = []
    engine = getattr(any_tenancy.engine, "sync_engine", any_tenancy.engine)
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    event.listen(engine, "connect", lambda *_: sent.append("connect"))
    for open_session in (any_tenancy.session, any_tenancy.sessionmaker):
        with pytest.raises(NoCurrentTenantError), open_session():
            pass
    assert sent == []


def test_an_unknown_tenant_has_no_session(any_tenancy: Any) -> None:
    with pytest.raises(TenantNotFoundError), any_tenancy.session("nobody"):
        pass


def test_a_tenant_that_is_not_active_needs_any_status(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    for stop, status in ((any_tenancy.suspend, Status.SUSPENDED), (any_tenancy.start_maintenance, Status.MAINTENANCE)):
        stop("acme")
        with pytest.raises(TenantUnavailableError) as refused, any_tenancy.session("acme"):
            pass
        assert (refused.value.tenant, refused.value.status) == ("acme", status)
        with any_tenancy.session("acme", any_status=True) as session:
            assert session.scalars(select(Project)).all() == []
        any_tenancy.resume("acme")
        with any_tenancy.session("acme") as session:
            assert session.scalars(select(Project)).all() == []


USES: dict[str, Callable[[Any], object]] = {
    "select": lambda session: session.scalars(select(Task)).all(),
    "text": lambda session: session.execute(text("SELECT 1")),
    "core": lambda session: session.execute(insert(Project).values(name="x")),
    "get": lambda session: session.get(Task, 1),
    "flush": lambda session: (session.add(Project(name="x")), session.flush()),
    "commit": lambda session: (session.add(Project(name="x")), session.commit()),
    "lazy load": lambda session: next(iter(session.identity_map.values())).tasks,
    "refresh": lambda session: session.refresh(next(iter(session.identity_map.values()))),
    "connection": lambda session: session.connection(),
    "bulk": lambda session: session.bulk_insert_mappings(Project, [{"name": "x"}]),
    "query": lambda session: session.query(Task).all(),
    "merge": lambda session: session.merge(Project(id=2, name="x")),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("begun", [True, False])
def test_a_session_that_follows_the_context_works_for_its_tenant_only(
    acme: Tenancy, engine: Engine, use: Callable[[Session], object], begun: bool
) -> None:
    ours, theirs = acme.get("acme"), acme.get("beta")
    for other in (theirs, None):
        with tenant_context(ours), acme.session() as session:
            held = session.scalars(select(Project)).one()
            if not begun:
                session.commit()
            with tenant_context(other):
                with pytest.raises(TenantMismatchError) as refused:
                    use(session)
                assert refused.value.bound == "acme"
                assert refused.value.current == (other and other.key)
                with pytest.raises(TenantMismatchError):
                    session.scalars(select(Task)).all()
                session.rollback()
            assert session.scalars(select(Project)).one() is held
    with engine.connect() as connection:
        for key in KEYS:
            assert connection.exec_driver_sql(f"SELECT name FROM t_{key}.project").scalars().all() == ["first"]


def test_a_session_continues_after_a_refused_flush(acme: Tenancy) -> None:
    with tenant_context(acme.get("acme")), acme.session() as session:
        session.add(Project(name="second"))
        with tenant_context(acme.get("beta")), pytest.raises(TenantMismatchError):
            session.flush()
        session.commit()
        assert session.scalars(select(Project.name).order_by(Project.id)).all() == ["first", "second"]


def test_a_session_of_a_named_tenant_ignores_the_context(acme: Tenancy) -> None:
    with tenant_context(acme.get("beta")), acme.session("acme") as session:
        session.add(Project(name="second"))
        session.commit()
    with acme.session("beta") as session:
        assert session.scalars(select(Project.name)).all() == ["first"]


def test_a_scoped_session_without_remove_refuses_the_next_tenant(acme: Tenancy) -> None:
    registry = scoped_session(acme.sessionmaker)
    with tenant_context(acme.get("acme")):
        registry.scalars(select(Project)).all()
    with tenant_context(acme.get("beta")), pytest.raises(TenantMismatchError):
        registry.scalars(select(Project)).all()
    registry.remove()


def test_a_detached_object_of_one_tenant_cannot_enter_the_session_of_another(acme: Tenancy, engine: Engine) -> None:
    with acme.session("acme", expire_on_commit=False) as session:
        project = session.scalars(select(Project).options(joinedload(Project.tasks))).unique().one()
    project.name = "changed"
    cached = pickle.loads(pickle.dumps(project))  # noqa: S301
    with acme.session("beta") as session:
        for enter in (session.add, session.merge, session.delete, lambda it: session.add_all([it])):
            with pytest.raises(TenantMismatchError) as refused:
                enter(project)
            assert (refused.value.bound, refused.value.current) == ("acme", "beta")
        with pytest.raises(TenantMismatchError):
            session.add(Task(title="new", project=project))
        with pytest.raises(TenantMismatchError):
            session.merge(Project(name="new", tasks=[*project.tasks]))
        with pytest.raises(TenantMismatchError):
            session.merge(cached)
        session.rollback()
        session.expunge_all()
    with acme.session("acme") as session:
        session.add(cached)
        session.commit()
    with engine.connect() as connection:
        names = [connection.exec_driver_sql(f"SELECT name FROM t_{key}.project").scalars().all() for key in KEYS]
    assert names == [["changed"], ["first"]]


def test_an_object_in_the_session_of_one_tenant_cannot_be_merged_into_another(acme: Tenancy) -> None:
    with acme.session("acme") as ours, acme.session("beta") as theirs:
        project = ours.scalars(select(Project)).one()
        with pytest.raises(TenantMismatchError):
            theirs.merge(project)
        assert ours.merge(project) is project


def test_cached_objects_of_one_tenant_cannot_enter_the_session_of_another(acme: Tenancy) -> None:
    with acme.session("acme", expire_on_commit=False) as session:
        project = session.scalars(select(Project)).one()
        cached = pickle.dumps(project)  # while the object is in its session
        frozen = session.execute(select(Project)).freeze()
    project.name = "changed"
    with acme.session("beta") as session:
        for enter in (
            lambda: session.merge(pickle.loads(cached), load=False),  # noqa: S301
            lambda: getattr(session, "merge_all", lambda them: [*map(session.merge, them)])([project]),  # new in 2.1
            lambda: merge_frozen_result(session, select(Project), frozen, load=False),
            lambda: session.bulk_save_objects([project]),
        ):
            with pytest.raises(TenantMismatchError):
                enter()
        assert session.scalars(select(Project.name)).all() == ["first"]
    with acme.session("acme") as session:
        assert session.merge(pickle.loads(cached), load=False).name == "first"  # noqa: S301
        session.bulk_save_objects([project])
        assert session.scalars(select(Project.name)).all() == ["changed"]


def test_an_object_remembers_its_tenant_when_its_session_was_never_closed(acme: Tenancy) -> None:
    session = acme.session("acme")
    project = session.scalars(select(Project)).one()
    session.rollback()
    session.refresh(project)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    project.name = "changed"
    with acme.session("beta") as session, pytest.raises(TenantMismatchError):
        session.add(project)


def test_sessions_of_two_tenants_may_alternate_on_one_connection(acme: Tenancy) -> None:
    names = text("SELECT name FROM project ORDER BY id")
    with acme.engine.connect() as connection, connection.begin():
        with ExitStack() as stack:
            ours, theirs = (
                stack.enter_context(acme.session(key, bind=connection, join_transaction_mode="create_savepoint"))
                for key in KEYS
            )
            for _ in range(2):
                for session in (ours, theirs):
                    session.add(Project(name=f"{session.tenant.key} {len(session.scalars(names).all())}"))
                    session.flush()  # SQLAlchemy 2.0 does not flush before text
            for session in (ours, theirs, ours):
                key = session.tenant.key
                assert session.scalars(names).all() == ["first", f"{key} 1", f"{key} 2"]
                assert session.scalars(select(Project.name).order_by(Project.id)).all() == session.scalars(names).all()
        for key in KEYS:
            with acme.session(key, bind=connection, join_transaction_mode="rollback_only") as session:
                session.add(Project(name=key))
                session.flush()
                assert session.scalars(names).all() == ["first", key]
                session.commit()


ALIAS = aliased(Task)
CRITERIA: dict[str, Callable[[Project], Any]] = {
    "many to one": lambda project: select(Task).where(Task.project == project),
    "not": lambda project: select(Task).where(Task.project != project),
    "in an or": lambda project: select(Task).where((Task.title == "x") | (Task.project == project)),
    "one to many": lambda project: select(Project).where(Project.tasks.contains(project.tasks[0])),
    "with_parent": lambda project: select(Task).where(with_parent(project, Project.tasks)),
    "subquery": lambda project: select(Project).where(Project.tasks.any(Task.project == project)),
    "alias": lambda project: select(ALIAS).where(ALIAS.project == project),
    "update": lambda project: update(Task).where(Task.project == project).values(title="x"),
    "delete": lambda project: delete(Task).where(Task.project == project),
    "join": lambda project: select(Project).join(Task, (Task.project_id == Project.id) & (Task.project == project)),
}


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_an_object_of_another_tenant_is_refused_in_a_criterion(
    acme: Tenancy, engine: Engine, criterion: Callable[[Project], Any]
) -> None:
    with acme.session("acme", expire_on_commit=False) as session:
        project = session.scalars(select(Project).options(joinedload(Project.tasks))).unique().one()
        session.execute(criterion(project))  # its owner may use it
        session.rollback()
        with acme.session("beta") as other:
            for _ in range(2):  # from the compiled cache, too
                with pytest.raises(TenantMismatchError, match=r"tenant 'acme'.*serves tenant 'beta'"):
                    other.execute(criterion(project))
            other.rollback()
    detached = project
    with acme.session("beta") as session:
        with pytest.raises(TenantMismatchError):
            session.execute(criterion(detached))
        session.rollback()
        own = session.scalars(select(Project)).one()
        session.execute(criterion(own))
        session.rollback()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT title FROM t_beta.task").scalars().all() == ["begin"]


@pytest.mark.some_values(criterion=6)
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_a_garbage_collected_object_is_refused_in_a_criterion_too(
    acme: Tenancy, criterion: Callable[[Project], Any]
) -> None:
    def make(session: Session) -> Any:
        return criterion(session.scalars(select(Project)).one())

    with acme.session("acme") as session, acme.session("beta") as other:
        for _ in range(2):
            statement = make(session)
            gc.collect()
            assert not [each for each in session if isinstance(each, Project)]
            session.execute(statement)  # its owner may use it
            session.rollback()
            with pytest.raises(TenantMismatchError, match=r"tenant 'acme'.*serves tenant 'beta'"):
                other.execute(statement)
            other.rollback()
            session.expunge_all()


@pytest.mark.parametrize("is_one_cycle", [False, True], ids=["the session first", "in one cycle"])
def test_an_object_is_refused_in_a_criterion_also_if_its_session_was_never_closed(
    acme: Tenancy, is_one_cycle: bool
) -> None:
    session = acme.session("acme", expire_on_commit=False)
    project = session.scalars(select(Project)).one()
    statement = select(Task.title).where(Task.project == project)
    session.commit()
    session_reference, project_reference = weakref.ref(session), weakref.ref(project)
    if is_one_cycle:
        session.info["cycle"] = (session, project)
        del project
    del session
    gc.collect()
    assert session_reference() is None
    if not is_one_cycle:
        del project
    assert project_reference() is None
    with acme.session("acme") as other:
        assert other.scalars(statement).all() == ["begin"]  # its owner may use it
    with (
        acme.session("beta") as other,
        pytest.raises(TenantMismatchError, match=r"tenant 'acme'.*serves tenant 'beta'"),
    ):
        other.scalars(statement)


def test_a_deleted_object_is_refused_in_a_criterion_too(acme: Tenancy) -> None:
    with acme.session("acme") as session:
        project = session.scalars(select(Project)).one()
        session.delete(project)
        session.commit()
    with (
        acme.session("beta") as other,
        pytest.raises(TenantMismatchError, match=r"tenant 'acme'.*serves tenant 'beta'"),
    ):
        other.scalars(select(Task.title).where(Task.project == project))


def test_a_refused_object_is_named_with_its_tenant(acme: Tenancy) -> None:
    with acme.session("acme") as session:
        project = session.scalars(select(Project)).one()
        with acme.session("beta") as other, pytest.raises(TenantMismatchError) as refused:
            other.merge(project)
    assert re.match(r"<Project at 0x\w+> is a row of tenant 'acme', .* serves tenant 'beta'", str(refused.value))


MAPS: dict[str, Callable[[Session, Any], object]] = {
    "statement": lambda session, options: session.execute(select(Project.name), execution_options=options),
    "statement's own": lambda session, options: session.execute(select(Project.name).execution_options(**options)),
    "connection": lambda session, options: session.connection(execution_options=options).execute(select(Project.name)),
    "text": lambda session, options: session.execute(text("SELECT 1"), execution_options=options),
    "insert": lambda session, options: session.execute(insert(Project).values(name="x"), execution_options=options),
    "get": lambda session, options: session.get(Project, 1, execution_options=options),
}


@pytest.mark.parametrize("use", MAPS.values(), ids=MAPS)
def test_a_map_that_leads_to_another_schema_is_refused(any_tenancy: Any, use: Callable[[Session, Any], object]) -> None:
    for key in KEYS:
        any_tenancy.create(key)
    for schema in ("t_beta", "public", None):
        options = {"schema_translate_map": {"tenant": schema}}
        with any_tenancy.session("acme") as session:
            with pytest.raises(TenantMismatchError, match="schema_translate_map"):
                in_sync(session, lambda sync, options=options: use(sync, options))
            session.rollback()
            in_sync(session, lambda sync: use(sync, {"schema_translate_map": {"tenant": "t_acme"}}))
        with (
            pytest.raises(TenantMismatchError, match="schema_translate_map"),
            any_tenancy.session("acme", execution_options=options),
        ):
            pass


CHANGES: list[Callable[[dict[str | None, str], str | None, str], object]] = [
    lambda schemas, name, other: schemas.__setitem__(name, other),
    lambda schemas, _, other: schemas.__setitem__("_none", other),
    lambda schemas, name, other: schemas.update({name: other}),
    lambda schemas, name, other: schemas.__ior__({name: other}),
    lambda schemas, name, _: schemas.pop(name),
    lambda schemas, name, _: schemas.__delitem__(name),
    lambda schemas, _name, _other: schemas.clear(),
]


@pytest.mark.parametrize("placeholder", ["tenant", None])
def test_a_sessions_map_cannot_be_changed(make_tenancy: Callable[..., Tenancy], placeholder: str | None) -> None:
    thing = Table("thing", MetaData(schema=placeholder), Column("owner", Text))
    tenancy = make_tenancy(shared=None, tenant=thing.metadata, placeholder=placeholder)
    for key in KEYS:
        tenancy.create(key, seed=lambda session, key=key: session.execute(insert(thing).values(owner=key)))
    for change in CHANGES * 2:  # the second time with a map in which SQLAlchemy has stored a name
        with tenancy.session("acme") as session:
            schemas: Any = session.connection().get_execution_options()["schema_translate_map"]
            with pytest.raises(TypeError, match="immutable"):
                change(schemas, placeholder, "t_beta")
            assert session.scalars(select(thing.c.owner)).all() == ["acme"]


def test_a_statement_that_was_compiled_with_another_map_does_not_leave_the_tenants_schema(
    make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    mood = Enum("good", name="mood")
    thing = Table("thing", MetaData(), Column("owner", Text), Column("mood", mood))
    tenancy = make_tenancy(shared=None, tenant=thing.metadata, placeholder=None)
    tenancy.create("acme")
    thing.metadata.create_all(engine)
    for statement in (select(thing.c.owner), delete(thing), insert(thing), select(cast("good", mood))):
        with tenancy.engine.connect() as connection:
            connection.execution_options(schema_translate_map={"x": "y"}).execute(statement)
        for session in (tenancy.shared_session(), tenancy.session("acme")):
            with session, pytest.raises(StatementError, match="consistent keys"):
                session.execute(statement)


UNDECLARED: dict[str, Callable[[Any], Any]] = {
    "text": lambda _: (
        text("SELECT id, name FROM project").columns(column("id", Integer), column("name", String)).subquery()
    ),
    "a table without a schema": lambda _: Table("project", MetaData(), Column("id", Integer), Column("name", String)),
    "a lightweight table": lambda _: table("project", column("id", Integer), column("name", String)),
    "a reflected table": lambda connection: Table("project", MetaData(), autoload_with=connection),
    "a subquery": lambda _: select(Project.id, Project.name, Country.code).outerjoin(Project.country).subquery(),
}


@pytest.mark.parametrize("make", UNDECLARED.values(), ids=UNDECLARED)
def test_an_object_of_another_tenant_is_refused_whatever_its_class_is_mapped_to(
    acme: Tenancy, make: Callable[[Any], Any]
) -> None:
    class Mapped:
        pass

    with acme.session("acme") as session:
        selectable = make(session.connection())
        registry().map_imperatively(Mapped, selectable, primary_key=[selectable.c.id])
        found = session.scalars(select(Mapped)).one()
    for enter in (Session.add, Session.merge):
        with acme.session("beta") as session, pytest.raises(TenantMismatchError):
            enter(session, found)
    with acme.session("acme") as session:
        session.add(found)


def test_shared_rows_may_go_from_tenant_to_tenant_whatever_their_class_is_mapped_to(acme: Tenancy) -> None:
    class Mapped:
        pass

    selectable = select(Country.code, Country.name).subquery()
    registry().map_imperatively(Mapped, selectable, primary_key=[selectable.c.code])
    with acme.session("acme") as session:
        found = session.scalars(select(Mapped)).first()
    with acme.session("beta") as session:
        session.add(found)
        assert session.merge(found) is found


def test_shared_rows_may_be_merged_into_sessions_of_other_tenants(acme: Tenancy) -> None:
    with acme.session("acme") as session:
        country = session.get_one(Country, "PT")
        session.expunge(country)
    with acme.session("beta") as session:
        assert session.merge(country).name == "Portugal"
        session.rollback()
        session.expunge_all()
        session.add(Project(name="second", country=country))
        session.commit()
        assert session.scalars(select(Project.country_code)).all() == ["PT", "PT"]


def test_a_new_object_may_be_added_anywhere(acme: Tenancy) -> None:
    project = Project(name="second")
    with acme.session("acme") as session:
        session.add(project)
        session.expunge(project)
    with acme.session("beta") as session:
        session.add(project)
        session.commit()
        assert session.scalars(select(Project.name).order_by(Project.id)).all() == ["first", "second"]


def test_a_session_works_on_its_tenancys_engine_only(acme: Tenancy) -> None:
    with closing(create_engine_of(acme)) as other:
        with pytest.raises(ConfigurationError, match="bind="):
            acme.session("acme", bind=other.engine)
        with acme.session("acme") as session, pytest.raises(ConfigurationError, match="bind="):
            session.execute(select(Project), bind_arguments={"bind": other.engine})
    with pytest.raises(ConfigurationError, match="binds="):
        acme.session("acme", binds={Project: acme.engine})


class create_engine_of:  # noqa: N801 - used as the function
    """A foreign engine for the same database."""

    def __init__(self, tenancy: Tenancy) -> None:
        self.engine = create_engine(tenancy.engine.url)

    def close(self) -> None:
        self.engine.dispose()


def test_own_execution_options_keep_the_tenant(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    options: dict[str, Any] = {"schema_translate_map": {"tenant": "t_acme"}, "yield_per": 10}
    with any_tenancy.session("acme", execution_options=options) as session:
        assert in_sync(session, lambda sync: sync.scalars(select(Project)).all()) == []
    with any_tenancy.shared_session(execution_options={"stream_results": False}) as session:
        assert session.scalars(select(Country)).all() == []
        with pytest.raises(Exception, match="tenantkit_no_tenant"):
            session.scalars(select(Project)).all()


def test_a_shared_session_reaches_no_tenant_whatever_is_current(acme: Tenancy) -> None:
    with tenant_context(acme.get("acme")), acme.shared_session() as session:
        assert session.scalars(select(Country.code)).all() == ["PT"]
        with pytest.raises(Exception, match="tenantkit_no_tenant"):
            session.scalars(select(Project)).all()
