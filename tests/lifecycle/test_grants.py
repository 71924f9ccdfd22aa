"""The application's own role can use each new tenant, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import ProgrammingError

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.registry.grants import let_read_registry
from tests.support.models import Project
from tests.support.processes import until


def as_role(make: Callable[..., Any], engine: Engine, role: str) -> Any:
    return make(database=engine.url.set(username=role), grant_to=role)


def test_the_applications_role_can_use_new_tenants_and_objects_of_migrations(
    make_any_tenancy: Callable[..., Any], make_tenancy: Callable[..., Tenancy], engine: Engine, role: str
) -> None:
    owner = make_tenancy(grant_to=role)
    owner.install()
    owner.install()
    owner.create("acme", domains=["acme.test"])
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t_acme.later (id serial PRIMARY KEY, body text)"))
    application = as_role(make_any_tenancy, engine, role)
    assert application.get("acme") == application.get_by_domain("acme.test")
    with application.session("acme") as session:
        session.add(Project(name="written"))
        session.commit()
        assert session.scalars(select(Project.name)).all() == ["written"]
        session.execute(text("INSERT INTO later (body) VALUES ('x')"))
        session.execute(text("UPDATE later SET body = 'y'"))
        session.execute(text("DELETE FROM later"))
        session.commit()
    with application.session("acme") as session, pytest.raises(ProgrammingError, match="must be owner"):
        session.execute(text("DROP TABLE later"))


def test_processes_that_start_together_grant_once(
    make_tenancy: Callable[..., Tenancy], engine: Engine, role: str
) -> None:
    tenancy = make_tenancy(grant_to=role)
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    rights = text("SELECT xmin FROM pg_namespace WHERE nspname = 'tenantkit'")
    with ThreadPoolExecutor(1) as another:
        with tenancy.engine.begin() as connection:
            let_read_registry(connection, [role])
            installed = another.submit(tenancy.install)
            with engine.connect() as observer:
                until(lambda: observer.execute(waiting).scalar())
        installed.result(timeout=60)
    with engine.connect() as observer:
        granted = observer.execute(rights).scalar()
        tenancy.install()
        assert observer.execute(rights).scalar() == granted  # and no further time


def test_without_a_grant_a_role_can_use_no_tenant(
    make_tenancy: Callable[..., Tenancy], engine: Engine, role: str
) -> None:
    owner = make_tenancy()
    owner.install()
    owner.create("acme")
    with pytest.raises(ProgrammingError, match="permission denied"):
        as_role(make_tenancy, engine, role).get("acme")


def test_a_role_that_does_not_exist_is_named(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(grant_to=["nobody_there"])
    with pytest.raises(ProvisioningError, match="nobody_there"):
        tenancy.create("acme")


VERBS: dict[str, Callable[[Any], object]] = {
    "create": lambda tenancy: tenancy.create("globex"),
    "drop": lambda tenancy: tenancy.drop("acme"),
    "suspend": lambda tenancy: tenancy.suspend("acme"),
    "start_maintenance": lambda tenancy: tenancy.start_maintenance("acme"),
    "update": lambda tenancy: tenancy.update("acme", name="Acme"),
    "add_domain": lambda tenancy: tenancy.add_domain("acme", "acme.example.com"),
    "remove_domain": lambda tenancy: tenancy.remove_domain("acme", "acme.test"),
    "repair": lambda tenancy: tenancy.repair(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_login_without_the_privilege_is_named_with_what_to_do(
    verb: str,
    make_any_tenancy: Callable[..., Any],
    make_tenancy: Callable[..., Tenancy],
    engine: Engine,
    role: str,
) -> None:
    owner = make_tenancy(grant_to=role)
    owner.install()
    owner.create("acme", domains=["acme.test"])
    if verb == "repair":
        with engine.begin() as connection:
            connection.execute(text("UPDATE tenantkit.tenants SET status = 'dropping'"))
    before = owner.list()
    said = (
        rf"^The login {role!r} lacks a privilege \(.*permission denied for .*\)\. Use the URL of the login that creates"
    )
    with pytest.raises(ConfigurationError, match=said):
        VERBS[verb](as_role(make_any_tenancy, engine, role))
    assert owner.list() == before
