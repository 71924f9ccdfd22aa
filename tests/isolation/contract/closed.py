"""Cases without a tenant, and with another one than the session's: nothing is found and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenantkit import NoCurrentTenantError, TenantMismatchError, TenantNotFoundError, tenant_context
from tests.isolation.contract.application import KEYS, Project, Task
from tests.isolation.contract.case import Case
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.line import NO_TENANT, WRONG_TENANT
from tests.isolation.contract.reads import READS
from tests.isolation.contract.visibility import SELECT, fill, titles
from tests.isolation.contract.writes import WRITES
from tests.support.blocking import in_sync

Use = Callable[[Session], Any]


def by_line() -> dict[str, list[Use]]:
    """Return all ways to read and to write, by the line of the table; the cases of visibility are their controls."""
    uses: dict[str, list[Use]] = {}
    for line, read in READS.values():
        uses.setdefault(line.title, []).append(lambda session, read=read: list(read(session)))
    for line, write in WRITES.values():
        uses.setdefault(line.title, []).append(lambda session, write=write: (write(session, "nobody"), session.flush()))
    return uses


USES = by_line()


def raises(error: type[Exception] | tuple[type[Exception], ...], work: Callable[[], object]) -> bool:
    """Return whether *work* raises *error*."""
    try:
        work()
    except error:
        return True
    return False


def fails_in(open_sessions: Callable[[Deployment], Any], uses: Sequence[Use]) -> Callable[[Deployment], bool]:
    """Return whether all *uses* fail in sessions that have no tenant, on connections that have served both."""

    def holds(deployment: Deployment) -> bool:
        fill(deployment)
        for use in uses:
            for opened in open_sessions(deployment):
                with opened as session:
                    if not raises(Exception, lambda session=session, use=use: in_sync(session, use)):
                        return False
        return is_untouched(deployment)

    return holds


def is_untouched(deployment: Deployment) -> bool:
    """Return whether each tenant has that task, and no other."""
    return all(titles(deployment, key, {"": SELECT}) == {"": {key}} for key in KEYS)


def needs_a_tenant(deployment: Deployment) -> bool:
    """Return whether no session is opened without a tenant, and one by the name of none."""

    def open_session(*key: str) -> None:
        with deployment.application.session(*key):
            pass

    with tenant_context(deployment.operator.get(KEYS[0])):
        open_session()
    return raises(NoCurrentTenantError, open_session) and raises(TenantNotFoundError, lambda: open_session("nobody"))


def follows_the_context(uses: Sequence[Use]) -> Callable[[Deployment], bool]:
    """Return whether a session of the current tenant refuses all *uses* once another tenant is current, or none."""

    def holds(deployment: Deployment) -> bool:
        first, second = (deployment.operator.get(key) for key in KEYS)
        fill(deployment)
        with tenant_context(first), deployment.application.session() as session:
            for use in uses:
                for other in (second, None):
                    with tenant_context(other):
                        if not raises(TenantMismatchError, lambda use=use: in_sync(session, use)):
                            return False
                    session.rollback()
            assert in_sync(session, SELECT) == [first.key]
        return is_untouched(deployment)

    return holds


OBJECTS: dict[str, Callable[[Session, Task], Any]] = {
    "add": lambda session, task: session.add(task),
    "merge": lambda session, task: session.merge(task),
    "delete": lambda session, task: session.delete(task),
    "bulk_save_objects": lambda session, task: session.bulk_save_objects([task]),
    "as the child of a new object": lambda session, task: session.add(Project(id=2, name="second", tasks=[task])),
    "in a criterion": lambda session, task: session.scalars(select(Project).where(Project.tasks.contains(task))).all(),
}


def refuses_objects(use: Callable[[Session, Task], Any]) -> Callable[[Deployment], bool]:
    """Return whether a session refuses an object of the other tenant, and takes one of its own."""

    def detached(deployment: Deployment, key: str) -> Task:
        def load(session: Session) -> Task:
            task = session.scalars(select(Task)).one()
            session.expunge(task)
            return task

        return deployment.work(key, load)

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS
        fill(deployment)
        theirs = detached(deployment, second)
        if not raises(TenantMismatchError, lambda: deployment.work(first, lambda session: use(session, theirs))):
            return False
        own = detached(deployment, first)
        deployment.work(first, lambda session: use(session, own))
        return titles(deployment, second, {"": SELECT}) == {"": {second}}

    return holds


def keeps_its_map(deployment: Deployment) -> bool:
    """Return whether another tenant's map of schemas, as an option of a statement, leads to no row of that tenant."""
    first, second = KEYS
    fill(deployment)

    def find(key: str) -> Sequence[str]:
        options = {"schema_translate_map": {**deployment.operator.binding(key).schemas}}
        return deployment.work(
            first, lambda session: session.scalars(select(Task.title), execution_options=options).all()
        )

    assert find(first) == [first]
    try:
        return find(second) == [first]
    except TenantMismatchError:
        return True


def ends_with_its_transaction(uses: Sequence[Use]) -> Callable[[Deployment], bool]:
    """Return whether a session refuses *uses* after its connection was told to commit without it: see `Case.holds`."""

    def holds(deployment: Deployment) -> bool:
        first, _ = KEYS
        fill(deployment)

        def commit(session: Session) -> None:
            session.connection().commit()

        for use in uses:
            with deployment.application.session(first) as session:
                assert in_sync(session, SELECT) == [first]
                in_sync(session, commit)
                if not raises(Exception, lambda use=use, session=session: in_sync(session, use)):
                    return False
        return is_untouched(deployment)

    return holds


CASES: Sequence[Case] = (
    Case(NO_TENANT, "a session", needs_a_tenant),
    *(
        Case(NO_TENANT, f"shared session: {name}", fails_in(Deployment.shared_sessions, uses))
        for name, uses in USES.items()
    ),
    *(
        Case(NO_TENANT, f"plain session: {name}", fails_in(Deployment.plain_sessions, uses))
        for name, uses in USES.items()
    ),
    *(Case(WRONG_TENANT, f"context: {name}", follows_the_context(uses)) for name, uses in USES.items()),
    *(Case(WRONG_TENANT, f"ended transaction: {name}", ends_with_its_transaction(uses)) for name, uses in USES.items()),
    *(Case(WRONG_TENANT, f"object: {name}", refuses_objects(use)) for name, use in OBJECTS.items()),
    Case(WRONG_TENANT, "map of schemas", keeps_its_map),
)
