"""Cases of creation, removal, repair and migration, each in a deployment of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import (
    ConfigurationError,
    MigrationError,
    Tenant,
    TenantMismatchError,
    TenantNotFoundError,
    TenantUnavailableError,
    drift,
    migrations,
)
from tenantkit.lifecycle import rename
from tests.isolation.contract.application import KEYS, Project, Task, seed
from tests.isolation.contract.case import Case
from tests.isolation.contract.closed import raises
from tests.isolation.contract.command_line import run
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.line import CREATION, DOCTOR, DRIFT, FAILURE, MIGRATION
from tests.isolation.contract.visibility import fill

NEW = "initech"
ADDED = (
    'op.add_column("task", sa.Column("note", sa.String), schema="tenant"); op.execute("UPDATE task SET note = title")'
)
REMOVED = 'op.drop_column("task", "note", schema="tenant")'
REFUSING = 'op.create_check_constraint("ck_task_title", "task", "title <> \'acme\'", schema="tenant")'
ALLOWING = 'op.drop_constraint("ck_task_title", "task", schema="tenant")'


def create(deployment: Deployment, key: str = NEW, **options: Any) -> None:
    """Create a tenant like the first one."""
    deployment.operator.create(key, **{"seed": seed, **deployment.kind.tenants[KEYS[0]], **options})


def write(deployment: Deployment, keys: Iterable[str] = KEYS) -> None:
    """Give each tenant a task with its key as the title."""
    deployment.application.cache.clear()  # as a notification would
    fill(deployment, keys)


def read(deployment: Deployment, query: str = "SELECT title FROM task") -> dict[str, Sequence[Any]]:
    """Return the first column of what the tenants find, by key."""
    deployment.application.cache.clear()
    keys = [tenant.key for tenant in deployment.operator.list()]
    return {key: deployment.work(key, lambda session: session.scalars(text(query)).all()) for key in keys}


def begins_empty(deployment: Deployment) -> bool:
    """Return whether a new tenant has tables of its own, without rows of others."""
    write(deployment)
    create(deployment)
    if read(deployment)[NEW]:
        return False
    write(deployment, [NEW])
    projects = deployment.work(NEW, lambda session: session.scalars(select(Project.name)).all())
    return projects == ["first"] and read(deployment) == {key: [key] for key in (*KEYS, NEW)}


def begins_again(deployment: Deployment) -> bool:
    """Return whether a creation whose seed fails leaves nothing, and the next one begins from the start."""
    write(deployment)

    def fail(session: Session) -> None:
        seed(session)
        session.add(Task(title="half done"))
        session.flush()
        raise ValueError

    assert raises(Exception, lambda: create(deployment, seed=fail))
    create(deployment)
    return deployment.operator.diagnose() == [] and read(deployment) == {**{key: [key] for key in KEYS}, NEW: []}


def ends_alone(deployment: Deployment) -> bool:
    """Return whether a tenant that is dropped takes its rows along, and nothing of the other."""
    first, second = KEYS
    write(deployment)
    old = deployment.operator.get(first)
    with deployment.application.session(first) as session:
        assert session.scalars(select(Task.title)).all() == [first]
        session.commit()
        deployment.operator.drop(first)
        if read(deployment) != {second: [second]}:
            return False
        assert raises(TenantNotFoundError, lambda: deployment.application.session(first))
        if not is_gone(deployment, old):
            return False
        create(deployment, first)
        create(deployment, NEW)
        assert read(deployment) == {first: [], second: [second], NEW: []}
        write(deployment, [first, NEW])
        assert raises(TenantMismatchError, lambda: deployment.application.session(old))
        return raises(Exception, lambda: session.scalars(select(Task.title)).one())


def is_gone(deployment: Deployment, tenant: Tenant) -> bool:
    """Return whether a tenant that was dropped has left neither tables nor rows."""
    column = deployment.operator.bind(tenant).column
    own = "" if column is None else f" WHERE {column.name} = {tenant.id}"

    def count() -> int:
        with deployment.engines[tenant.placement.database].connect() as connection:
            return int(connection.exec_driver_sql(f'SELECT count(*) FROM "{tenant.schema}".task{own}').scalar_one())

    return raises(DBAPIError, count) if column is None else count() == 0


def is_renamed(deployment: Deployment) -> bool:
    """Return whether a tenant has its rows under another key, and a new one with the former key has none of them."""
    first, second = KEYS
    write(deployment)
    old = deployment.operator.get(first)
    with deployment.application.session(first) as session:
        assert session.scalars(select(Task.title)).all() == [first]
        session.commit()
        rename(deployment.operator, first, NEW)
        deployment.application.cache.clear()
        assert session.scalars(select(Task.title)).all() == [first]
    create(deployment, first)
    assert read(deployment) == {NEW: [first], first: [], second: [second]}
    assert deployment.work(old, lambda session: session.scalars(select(Task.title)).all()) == [first]
    try:
        last = rename(deployment.operator, NEW, "hooli", schema=True).key
    except ConfigurationError:  # its schema keeps its name
        last = NEW
    write(deployment, [first])
    assert read(deployment) == {last: [first], first: [first], second: [second]}
    assert deployment.operator.diagnose() == []
    deployment.operator.drop(last)
    return read(deployment) == {first: [first], second: [second]}


def is_repaired(deployment: Deployment) -> bool:
    """Return whether the doctor finds a creation that was interrupted, and removes it."""
    write(deployment)

    def die(session: Session) -> None:
        seed(session)
        session.flush()
        raise KeyboardInterrupt

    assert deployment.operator.diagnose() == []
    assert raises(KeyboardInterrupt, lambda: create(deployment, seed=die))
    assert [finding.subject for finding in deployment.operator.diagnose()] == [NEW]
    assert raises(TenantUnavailableError, lambda: deployment.application.session(NEW))
    deployment.operator.repair()
    assert deployment.operator.diagnose() == []
    create(deployment)
    return read(deployment) == {**{key: [key] for key in KEYS}, NEW: []}


def migrates_all(deployment: Deployment) -> bool:
    """Return whether a revision reaches each tenant, its statements for data too, and is taken back."""
    write(deployment)
    assert migrations.status(deployment.operator).is_current
    deployment.environment.add("t3", ADDED, REMOVED)
    assert {each.key for each in migrations.status(deployment.operator).behind} == {*KEYS}
    migrations.migrate(deployment.operator)
    assert migrations.status(deployment.operator).is_current
    assert read(deployment, "SELECT note FROM task") == {key: [key] for key in KEYS}
    create(deployment)
    assert read(deployment, "SELECT note FROM task")[NEW] == []
    assert migrations.status(deployment.operator).is_current
    migrations.downgrade(deployment.operator, "-1")
    assert {each.key for each in migrations.status(deployment.operator).behind} == {*KEYS, NEW}
    columns = deployment.work(
        KEYS[1], lambda session: {each["name"] for each in inspect(session.connection()).get_columns("task")}
    )
    return "note" not in columns and read(deployment) == {**{key: [key] for key in KEYS}, NEW: []}


def fails_alone(deployment: Deployment) -> bool:
    """Return whether a revision that one tenant's rows refuse reaches the other."""
    first, second = KEYS
    write(deployment)
    deployment.environment.add("t3", REFUSING, ALLOWING)
    assert raises(MigrationError, lambda: migrations.migrate(deployment.operator))
    behind = {each.key for each in migrations.status(deployment.operator).behind}
    assert first in behind
    deployment.work(first, lambda session: session.execute(text("UPDATE task SET title = 'renamed'")))
    migrations.migrate(deployment.operator)
    assert migrations.status(deployment.operator).is_current
    return second not in behind


def drifts_alone(deployment: Deployment) -> bool:
    """Return whether a change by hand is found in the tenant in which it was made, and in no other."""
    done = run(deployment, "check", "--models", "--json")
    assert done.code == 0, done
    assert all(group["standard"] == "revisions" for group in done.json["groups"]), done
    deployment.alter(KEYS[0], "ALTER TABLE task ADD COLUMN extra integer")
    found = {key for each in drift.check(deployment.operator, models=True).odd for key in each.schemas}
    assert KEYS[0] in found
    return found == {KEYS[0]}


def is_commanded(deployment: Deployment) -> bool:
    """Return whether the command line lists, migrates, checks and drops tenants one by one."""
    write(deployment)
    deployment.environment.add("t3", ADDED, REMOVED)
    assert [each["key"] for each in run(deployment, "list", "--json").json] == [*KEYS]
    before, done, after = (
        run(deployment, *each) for each in (["status", "--check"], ["migrate"], ["status", "--check"])
    )
    assert (before.code, done.code, after.code) == (1, 0, 0), (before, done, after)
    assert (healthy := run(deployment, "doctor")).code == 0, healthy
    assert read(deployment, "SELECT note FROM task") == {key: [key] for key in KEYS}
    assert (dropped := run(deployment, "drop", KEYS[0], "--yes")).code == 0, dropped
    deployment.operator.cache.clear()
    return read(deployment) == {KEYS[1]: [KEYS[1]]}


CASES: Sequence[Case] = (
    Case(CREATION, "a new tenant", begins_empty, is_alone=True),
    Case(CREATION, "a seed that fails", begins_again, is_alone=True),
    Case(CREATION, "a tenant that is dropped", ends_alone, is_alone=True),
    Case(CREATION, "a tenant that is renamed", is_renamed, is_alone=True),
    Case(CREATION, "the command line", is_commanded, is_alone=True),
    Case(DOCTOR, "a creation that was interrupted", is_repaired, is_alone=True),
    Case(MIGRATION, "a revision", migrates_all, is_alone=True),
    Case(FAILURE, "a check constraint", fails_alone, is_alone=True),
    Case(DRIFT, "a column", drifts_alone, is_alone=True),
)
