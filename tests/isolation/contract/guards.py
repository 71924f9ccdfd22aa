"""Guards against hostile statements, and which of these reach a neighbour."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit import Tenant
from tests.isolation.contract.application import INVOICE_NO, KEYS, Task
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.hostile import DEFINER, Attack
from tests.isolation.contract.isolations import DATABASE, DATABASE_LOGIN, LOGIN, ROLE, ROW, SCHEMA, TWO_DATABASES, Kind

ATTACKER, NEIGHBOUR = KEYS
SECRET = "secretof{}"
INLINE: Any = select(bindparam("secret", SECRET.format(NEIGHBOUR), literal_execute=True))
"""A statement that shows the secret to whoever sees its text."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A deployment that guards against hostile statements in its own way: a column of the table."""

    name: str
    kind: Kind = SCHEMA
    options: Mapping[str, Any]
    """The options of the application's tenancy."""


ALLOW = Guard(name="schema, `allow`", options={"raw_sql": "allow"})
ROLES = Guard(name="`role`, `allow`", kind=ROLE, options={"raw_sql": "allow"})
LOGINS = Guard(name="`login`, `allow`", kind=LOGIN, options={"raw_sql": "allow"})
LOGINS_TO_DATABASES = Guard(name="database, `login`, `allow`", kind=DATABASE_LOGIN, options={"raw_sql": "allow"})

GUARDS = (
    ALLOW,
    Guard(name="schema, `forbid`", options={"raw_sql": "forbid"}),
    ROLES,
    Guard(name="`role`, `forbid`", kind=ROLE, options={"raw_sql": "forbid"}),
    LOGINS,
    Guard(name="database, `allow`", kind=DATABASE, options={"raw_sql": "allow"}),
    LOGINS_TO_DATABASES,
    Guard(name="row, `allow`", kind=ROW, options={"raw_sql": "allow"}),
    Guard(name="row, `forbid`", kind=ROW, options={"raw_sql": "forbid"}),
)
"""The columns of the table."""

ELSEWHERE = Guard(name="another database", kind=TWO_DATABASES, options={})


def prepare(deployment: Deployment) -> None:
    """Give each tenant secret rows, statistics that show them, and a secret large object.

    A privilege that the doctor finds fault with is revoked, as it says.
    """
    for engine in deployment.engines.values():
        with engine.begin() as connection:
            connection.execute(text(DEFINER))
            connection.exec_driver_sql(f"ALTER FUNCTION public.titles_in OWNER TO {deployment.urls['main'].username}")
            connection.exec_driver_sql("CREATE EXTENSION dblink SCHEMA public")
    for finding in deployment.operator.diagnose():
        if "titles_in" in finding.problem:
            revoke = finding.problem.rpartition("; ")[2].partition(", or")[0]
            for engine in deployment.engines.values():
                with engine.begin() as connection:
                    connection.exec_driver_sql(revoke)
    restore(deployment)
    for key in KEYS:
        deployment.work(key, lambda session: session.scalar(select(func.lo_from_bytea(0, secret(session).encode()))))
        deployment.alter(key, "ANALYZE task")
    for engine in deployment.engines.values():
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")


def restore(deployment: Deployment) -> None:
    """Give each tenant its secret rows, and no others."""

    def write(session: Session) -> None:
        session.execute(delete(Task))
        session.execute(insert(Task), [{"id": number, "title": secret(session), "project_id": 1} for number in (1, 2)])

    for key in KEYS:
        deployment.work(key, write)
    for engine in deployment.engines.values():
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER ROLE {deployment.role} RESET ALL")


def secret(session: Any) -> str:
    """Return the secret of a session's tenant."""
    return SECRET.format(session.tenant.key)


def reaches(deployment: Deployment, attack: Attack, *, target: str = NEIGHBOUR) -> bool:
    """Return whether an attack finds or changes anything of the tenant *target*, then or later."""
    restore(deployment)
    tenant, number = deployment.operator.get(target), draw(deployment, target)
    with watching(deployment) as is_undisturbed:
        found, _ = deployment.work(ATTACKER, lambda session: send(session, attack, tenant))
        undisturbed = is_undisturbed()
    return (
        SECRET.format(target) in found
        or not undisturbed
        or draw(deployment, target) != number + 1
        or titles(deployment, target) != {SECRET.format(target)}
        or any(SECRET.format(target) in titles(deployment, key) for key in KEYS if key != target)
    )


def is_sound(deployment: Deployment, attack: Attack) -> bool:
    """Return whether an attack reaches the attacker's own rows, or the neighbour's where a superuser sends it."""
    return reaches(deployment, attack, target=ATTACKER) or reaches_for_a_superuser(deployment, attack)


def reaches_for_a_superuser(deployment: Deployment, attack: Attack) -> bool:
    """Return whether an attack reaches the neighbour in a plain session of the server's own user."""
    restore(deployment)
    neighbour, number = deployment.operator.get(NEIGHBOUR), draw(deployment, NEIGHBOUR)
    engine = deployment.engines[neighbour.placement.database]
    with watching(deployment) as is_undisturbed, Session(engine) as session:
        found, has_ended = send(session, attack, neighbour)
        changed = has_ended and rows(session, neighbour) != [SECRET.format(NEIGHBOUR)] * 2
        session.rollback()
        changed = changed or not is_undisturbed()
    return SECRET.format(NEIGHBOUR) in found or changed or draw(deployment, NEIGHBOUR) != number + 1


def send(session: Session, attack: Attack, tenant: Tenant) -> tuple[str, bool]:
    """Send the statements of an attack; return what they answered, and whether all of them were executed."""
    found: list[str] = []
    try:
        for each in attack.send(session, tenant):
            found.append(str(each))  # noqa: PERF401 - what came before an error counts
    except Exception:  # noqa: BLE001 - refused by anything
        session.rollback()
        return "".join(found), False
    return "".join(found), True


def titles(deployment: Deployment, key: str) -> set[str]:
    """Return the titles of a tenant's tasks."""
    return set(deployment.work(key, lambda session: session.scalars(select(Task.title)).all()))


def rows(session: Session, tenant: Tenant) -> list[str]:
    """Return the titles of a tenant's tasks in any session; none if the table is not there any more."""
    try:
        return list(session.scalars(text(f"SELECT title FROM {tenant.schema}.task")))
    except DBAPIError:
        return []


def draw(deployment: Deployment, key: str) -> int:
    """Return the next number of a tenant's sequence."""
    return deployment.work(key, lambda session: session.scalar(INVOICE_NO))


@contextmanager
def watching(deployment: Deployment) -> Generator[Callable[[], bool]]:
    """Yield what tells whether the neighbour's session, which is in the middle of its work, can still work."""
    with deployment.application.session(NEIGHBOUR) as session:
        session.execute(INLINE)

        def is_undisturbed() -> bool:
            try:
                session.execute(INLINE)
            except Exception:  # noqa: BLE001 - its connection may be gone
                session.invalidate()
                return False
            return True

        yield is_undisturbed
