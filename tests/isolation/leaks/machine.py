"""The state machine."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Session

from tenantkit import Tenant, TenantMismatchError, TenantNotFoundError, TenantUnavailableError, tenant_context
from tests.isolation.contract.application import Task
from tests.isolation.contract.closed import OBJECTS, USES, raises
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.surroundings import LEFT, TYPED
from tests.isolation.contract.writes import WRITES
from tests.isolation.leaks import crowds
from tests.isolation.leaks.model import LeakError, Owner, Rows
from tests.isolation.leaks.tenants import KINDS
from tests.isolation.leaks.visits import COMMITTING, LOCKING, WAYS_TO_READ, Visit, can_write
from tests.isolation.leaks.world import World, has_left
from tests.support.blocking import in_sync

DRIVERS = ("sync", "asyncio-psycopg", "asyncio-asyncpg")
FAILING = (
    "SELECT nothing FROM nowhere",
    "SELECT 1 / 0",
    "INSERT INTO project (id, name) VALUES (1, 'first')",
    "SELECT title FROM task WHERE state = 'NONE'",
)

TRESPASSING = (
    "SELECT title FROM {}",
    "UPDATE {} SET title = NULL",
    "INSERT INTO {} (id, title) VALUES (77, 'theirs')",
    "DELETE FROM {}",
)
"""Statements on the table of another tenant."""

FIND = (select(Task.title), text("SELECT title FROM task"))

drivers, keys, numbers = st.sampled_from(DRIVERS), st.sampled_from([*KINDS]), st.integers(0, 1_000)


class Leaks(RuleBasedStateMachine):
    """Sessions of many tenants on pools of two connections; one of each driver stays open from rule to rule."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.opened: list[Visit] = []
        self.visits: dict[str, Visit] = {}
        """The session of each driver that stays open."""
        self.places = count(1)
        self.created = 0
        world.clear()

    # Sessions that stay open

    def visit(self, driver: str, key: str, action: str) -> Visit:
        """Return the open session of a driver for an *action*, or else a new one of the tenant *key*."""
        visit = self.visits.get(driver)
        if visit is not None and visit.owner.is_suspended and not visit.in_transaction:
            self.require_refusal(visit, TenantUnavailableError)
            self.end(driver)
            visit = None
        if visit is None:
            visit = self.visits[driver] = self.open(driver, self.served(key))
        self.count(action, visit.owner, driver)
        return visit

    def open(self, driver: str, owner: Owner, **options: Any) -> Visit:
        deployment = self.world.deployments[driver]
        return self.enter(deployment, owner, deployment.application.session(owner.key, **options))

    def enter(self, deployment: Deployment, owner: Owner, opened: Any) -> Visit:
        """Enter a session, which ends with the example at the latest."""
        visit = Visit(deployment, owner, opened)
        self.opened.append(visit)
        return visit

    def end(self, driver: str, how: str = "close") -> None:
        self.visits.pop(driver).close(how)

    def served(self, key: str) -> Owner:
        """Return the tenant *key*, or else one that is not suspended."""
        owners = [self.world.named(key), *self.world.owners.values()]
        return next(owner for owner in owners if not owner.is_suspended)

    def count(self, action: str, owner: Owner, driver: str) -> None:
        self.world.ran[action, owner.kind.name, driver] += 1

    def settle(self, owner: Owner) -> None:
        """Commit the session that others of this tenant would wait for."""
        if owner.writer is not None:
            owner.writer.commit()

    def writing(self, driver: str, key: str, action: str) -> Visit:
        """Return the open session of a driver, for an action that no other session of its tenant may be in the way of."""
        visit = self.visit(driver, key, action)
        if visit.owner.writer is not visit:
            self.settle(visit.owner)
        return visit

    def require_refusal(self, visit: Visit, error: type[Exception]) -> None:
        """Raise unless a session that was kept refuses to read, with this *error*."""
        try:
            found = visit.do(lambda session: session.scalars(select(Task.title)).all())
        except error:
            visit.rollback()
        else:
            raise LeakError(f"a session of {visit.owner.key} has found {found}, and should raise {error.__name__}")

    @rule(
        driver=drivers,
        key=keys,
        ways=st.lists(st.sampled_from([*WAYS_TO_READ]), min_size=1, max_size=6, unique=True),
        elsewhere=st.booleans(),
    )
    def read(self, driver: str, key: str, ways: list[str], elsewhere: bool) -> None:
        for way in ways:
            if way in LOCKING:
                visit = self.writing(driver, key, f"read by {way}")
                visit.begin_to_write()
            else:
                visit = self.visit(driver, key, f"read by {way}")
            visit.read(way, elsewhere=elsewhere)

    @rule(
        driver=drivers,
        key=keys,
        ways=st.lists(st.sampled_from([*WRITES]), min_size=1, max_size=4, unique=True),
        elsewhere=st.booleans(),
    )
    def write(self, driver: str, key: str, ways: list[str], elsewhere: bool) -> None:
        visit = self.writing(driver, key, "write")
        for way in ways:
            if can_write(visit.owner, way) and not (way in COMMITTING and visit.owner.is_suspended):
                self.count(f"write by {way}", visit.owner, driver)
                visit.write(way, elsewhere=elsewhere)
                visit.read("entities")

    @rule(driver=drivers, key=keys, times=st.integers(1, 3))
    def add(self, driver: str, key: str, times: int) -> None:
        visit = self.writing(driver, key, "add")
        for _ in range(times):
            visit.add()

    @rule(driver=drivers, key=keys, by_text=st.booleans())
    def update_all(self, driver: str, key: str, by_text: bool) -> None:
        self.writing(driver, key, "update all").update_all(by_text=by_text)

    @rule(
        driver=drivers,
        key=keys,
        end=st.sampled_from(["release", "rollback", "error of the database", "error of the application"]),
    )
    def nest(self, driver: str, key: str, end: str) -> None:
        self.writing(driver, key, f"savepoint, {end}").nest(end)

    @rule(driver=drivers, key=keys, statement=st.sampled_from(FAILING))
    def fail(self, driver: str, key: str, statement: str) -> None:
        self.visit(driver, key, "fail").fail(statement)

    @rule(driver=drivers, key=keys, name=st.sampled_from([*LEFT]))
    def leave(self, driver: str, key: str, name: str) -> None:
        self.visit(driver, key, f"leave a {name}").leave(name)

    @rule(driver=drivers, key=keys, taken=st.integers(1, 4), close=st.booleans())
    def stream(self, driver: str, key: str, taken: int, close: bool) -> None:
        self.visit(driver, key, "stream").stream(taken, close=close)

    @rule(driver=drivers, key=keys, method=st.sampled_from(["commit", "rollback"]), statement=st.sampled_from(FIND))
    def end_behind(self, driver: str, key: str, method: str, statement: Any) -> None:
        self.visit(driver, key, f"{method} of the connection").end_behind(method, statement)

    @rule(driver=drivers, key=keys)
    def kill(self, driver: str, key: str) -> None:
        self.visit(driver, key, "kill").kill(self.world.kill)

    @rule(driver=drivers, key=keys)
    def commit(self, driver: str, key: str) -> None:
        self.visit(driver, key, "commit").commit()

    @rule(driver=drivers, key=keys)
    def roll_back(self, driver: str, key: str) -> None:
        self.visit(driver, key, "roll back").rollback()

    @rule(driver=drivers, key=keys, how=st.sampled_from(["commit", "close", "invalidate"]))
    def close(self, driver: str, key: str, how: str) -> None:
        visit = self.visit(driver, key, f"end by {how}")
        self.end(driver, how)
        errors = (InvalidRequestError, TenantUnavailableError)
        if not raises(errors, lambda: visit.do(lambda session: session.scalars(select(Task)).all())):
            raise LeakError("a session has been used after its end")

    @rule(driver=drivers, key=keys, number=numbers, change=st.booleans())
    def forge(self, driver: str, key: str, number: int, change: bool) -> None:
        """Write a row for another tenant."""
        visit = self.writing(driver, key, "forge")
        column = self.world.column(visit.owner)
        if column is None:
            return
        common = [each for each in self.world.owners.values() if self.world.column(each) and each is not visit.owner]
        theirs = common[number % len(common)].tenant.id
        visit.begin_to_write()
        title = visit.owner.new_title()
        statement = f"INSERT INTO task (id, title, {column}) VALUES (9, '{title}', {theirs})"
        if change:
            visit.add()
            statement = f"UPDATE task SET {column} = {theirs}"
        visit.fail(statement)

    @rule(driver=drivers, key=keys, ends=st.booleans())
    @precondition(lambda self: self.world.is_guarded)
    def trespass(self, driver: str, key: str, ends: bool) -> None:
        """Name the tables of other tenants, which only a guard refuses, also right after the end of a transaction."""
        visit = self.visit(driver, key, "trespass")
        if ends and not visit.owner.is_suspended:
            visit.commit()
        self.require_guard(visit)

    def require_guard(self, visit: Visit) -> None:
        """Raise unless each statement on the table of another tenant is refused."""
        for theirs in self.world.owners.values():
            for statement in TRESPASSING if theirs is not visit.owner else ():
                visit.require_refusal(statement.format(f'"{theirs.tenant.schema}".task'))

    # Sessions that end with their rule

    @rule(driver=drivers, line=st.sampled_from([*USES]), number=numbers, shared=st.booleans())
    def use_without_tenant(self, driver: str, line: str, number: int, shared: bool) -> None:
        deployment, use = self.world.deployments[driver], USES[line][number % len(USES[line])]
        for opened in deployment.shared_sessions() if shared else deployment.plain_sessions():
            with opened as session:
                if in_sync(session, has_left):
                    raise LeakError(f"{driver}: something is left on a connection")
                session.rollback()
                if not raises(Exception, lambda session=session: in_sync(session, use)):
                    raise LeakError(f"a session without a tenant has executed {line}")
        self.world.ran["use without tenant", driver] += 1

    @rule(driver=drivers, key=keys, other=keys, use=st.sampled_from([*OBJECTS]))
    def use_object(self, driver: str, key: str, other: str, use: str) -> None:
        """Use an object of one tenant in a session of another, or of the same."""
        theirs, owner = self.served(key), self.served(other)
        task = self.detached(driver, theirs)
        self.settle(owner)
        visit = self.open(driver, owner)
        if owner is theirs:
            visit.do(lambda session: (OBJECTS[use](session, task), session.flush()))
        else:
            self.require_mismatch(visit, task, use)
        visit.rollback()
        visit.close()
        self.count("own object" if owner is theirs else f"object: {use}", owner, driver)

    def detached(self, driver: str, owner: Owner) -> Task:
        """Return an object of a tenant without a session."""
        self.settle(owner)
        visit = self.open(driver, owner)
        if not owner.rows:
            visit.add()
            visit.commit()

        def load(session: Session) -> Task:
            task: Task = session.scalars(select(Task).limit(1)).one()
            session.expunge(task)
            return task

        task = visit.do(load)
        visit.close()
        return task

    def require_mismatch(self, visit: Visit, task: Task, use: str) -> None:
        work = OBJECTS[use]
        if not raises(TenantMismatchError, lambda: visit.do(lambda session: (work(session, task), session.flush()))):
            raise LeakError(f"{visit.owner.key} has accepted an object of another tenant: {use}")

    @rule(driver=drivers, chosen=st.lists(keys, min_size=2, max_size=3, unique=True), way=st.sampled_from([*TYPED]))
    def alternate(self, driver: str, chosen: list[str], way: str) -> None:
        """Repeat a text in turn for several tenants until the drivers prepare it."""
        for _ in range(6):
            for owner in {self.served(key): None for key in chosen}:
                visit = self.open(driver, owner)
                visit.read(way)
                visit.close()
                self.count("alternate", owner, driver)

    @rule(driver=drivers, key=keys, other=st.none() | keys, line=st.sampled_from([*USES]), number=numbers)
    def use_in_context(self, driver: str, key: str, other: str | None, line: str, number: int) -> None:
        """Use a session of the current tenant while another one is current, or none."""
        owner, deployment = self.served(key), self.world.deployments[driver]
        current = None if other is None else self.world.named(other).tenant
        with tenant_context(owner.tenant):
            visit = self.enter(deployment, owner, deployment.application.session())
            visit.read("entities")
            if current is None or current.id != owner.tenant.id:
                use = USES[line][number % len(USES[line])]
                with tenant_context(current):
                    if not raises(TenantMismatchError, lambda: visit.do(use)):
                        raise LeakError(f"a session of {owner.key} has executed {line} while {other} was current")
                visit.rollback()
                visit.read("text")
            visit.close()
        self.count("use in context", owner, driver)

    @rule(driver=drivers, chosen=st.lists(keys, min_size=1, max_size=3), end=st.sampled_from(["commit", "rollback"]))
    @precondition(lambda self: not self.world.is_guarded)
    def share_connection(self, driver: str, chosen: list[str], end: str) -> None:
        """Use a caller's connection for several tenants, one after the other in one transaction."""
        deployment, first = self.world.deployments[driver], self.served(chosen[0])
        database = first.tenant.placement.database
        owners = {owner for key in chosen if (owner := self.served(key)).tenant.placement.database == database}
        changed: dict[Owner, Rows] = {}
        if driver in self.visits:  # its connection is needed to look tenants up
            self.end(driver)
        with deployment.connect(database) as connection:
            before = in_sync(connection, state_of)
            for owner in sorted(owners, key=lambda owner: owner.key):
                self.settle(owner)
                options = {"bind": getattr(connection, "_target", connection)}
                visit = self.open(driver, owner, join_transaction_mode="create_savepoint", **options)
                visit.read("text")
                visit.add()
                visit.read("entities")
                changed[owner] = dict(visit.rows)
                visit.session.commit()
                visit.close()
                if in_sync(connection, state_of) != before:
                    raise LeakError(f"{driver}: a caller's connection is not as it was before a session of {owner.key}")
                self.count(f"caller's connection, {end}", owner, driver)
            getattr(connection, end)()
        if end == "commit":
            for owner, rows in changed.items():
                owner.rows = rows

    # Many sessions at the same time

    @rule(
        plans=st.lists(
            st.tuples(
                drivers, keys, st.lists(st.sampled_from([*crowds.ACTIONS]), max_size=5), st.sampled_from(crowds.ENDS)
            ),
            min_size=2,
            max_size=6,
        )
    )
    def gather(self, plans: list[tuple[str, str, list[str], str]]) -> None:
        planned = [
            crowds.Plan(driver, self.served(key), next(self.places), actions, end, self.world.kill)
            for driver, key, actions, end in plans
        ]
        for plan in planned:
            self.count(f"one of many, {plan.end}", plan.owner, plan.driver)
        crowds.gather(self.world, planned)

    @rule(driver=st.sampled_from(DRIVERS[1:]), key=keys, ticks=st.integers(0, 40))
    def cancel(self, driver: str, key: str, ticks: int) -> None:
        """Cancel a task at any moment: it has committed what it was told that it has, or a transaction more."""
        owner, application = self.served(key), self.world.deployments[driver].application
        actions = ["adds", "commits", "inserts_text", "reads"]
        plan = crowds.Plan(driver, owner, next(self.places), actions, "commits", self.world.kill)
        application._portal.call(crowds.cancel, application._target, plan, ticks)
        self.world.await_idle(owner, plan.pids)
        found = self.world.rows()[owner.key]
        if not plan.committed.items() <= found.items():
            raise LeakError(f"{owner.key} has lost a commit")
        crowds.add_rows(owner, plan.committed | {n: title for n, title in plan.pending.items() if n in found})
        self.count("cancel", owner, driver)

    # The operator

    @rule(key=keys)
    @precondition(lambda self: sum(owner.is_suspended for owner in self.world.owners.values()) < 3)
    def suspend(self, key: str) -> None:
        owner = self.world.named(key)
        before = owner.tenant
        self.world.suspend(owner)
        for driver in DRIVERS:
            for name in (owner.key, before, owner.tenant):
                self.require_closed(driver, name, TenantUnavailableError)
            self.count("suspend", owner, driver)

    @rule(driver=drivers, key=keys, ways=st.lists(st.sampled_from([*WRITES]), min_size=1, max_size=3, unique=True))
    def let_only_read(self, driver: str, key: str, ways: list[str]) -> None:
        """Make a tenant read-only for a new session, of which nothing stays on the connections."""
        owner = self.served(key)
        self.settle(owner)
        self.world.let_only_read(owner)
        visit = self.open(driver, owner)
        for way in ways:
            write = WRITES[way][1]
            if not raises(
                Exception, lambda write=write: visit.do(lambda session: (write(session, "-"), session.flush()))
            ):
                raise LeakError(f"a session of {owner.key}, which is read-only, has written by {way}")
            visit.rollback()
            visit.read("entities")
        visit.close()
        self.world.resume(owner)
        self.count("only read", owner, driver)

    @rule(key=keys)
    def resume(self, key: str) -> None:
        owner = self.world.named(key)
        self.world.resume(owner)
        for driver in DRIVERS:
            visit = self.open(driver, owner)
            visit.read("entities")
            visit.close()
            self.count("resume", owner, driver)

    @rule(key=keys, how=st.sampled_from(["commit", "rollback"]))
    @precondition(lambda self: self.created == 0)
    def create_again(self, key: str, how: str) -> None:
        """Drop a tenant, and create another one with its key: what was kept of the first must not reach the second."""
        self.created += 1
        former = self.world.named(key)
        if former.is_suspended:
            self.world.resume(former)
        task = self.detached("sync", former)
        for driver in DRIVERS:
            if driver in self.visits and self.visits[driver].owner is not former:
                self.end(driver)
            visit = self.visit(driver, former.key, "create again")
            visit.read("entities")
            getattr(visit, how)()
        kept, self.visits = self.visits, {}
        self.world.drop(former)
        for driver, visit in kept.items():
            for name in (former.key, former.tenant):
                self.require_closed(driver, name, TenantNotFoundError)
            self.require_refusal(visit, TenantNotFoundError)
        owner = self.world.create_again(former)
        for driver, visit in kept.items():
            self.require_refusal(visit, TenantMismatchError)
            self.require_closed(driver, former.tenant, TenantMismatchError)
            visit.close()
            successor = self.visit(driver, owner.key, "created again")
            for use in OBJECTS:
                self.require_mismatch(successor, task, use)
                successor.rollback()

    def require_closed(self, driver: str, tenant: Tenant | str, error: type[Exception]) -> None:
        def enter() -> None:
            with self.world.deployments[driver].application.session(tenant):
                pass

        if not raises(error, enter):
            raise LeakError(f"{driver}: a session of {tenant} was opened, and should raise {error.__name__}")

    # At any time

    @invariant()
    def each_tenant_has_its_rows(self) -> None:
        self.world.compare()

    def teardown(self) -> None:
        with ExitStack() as stack:
            for visit in self.opened:
                stack.callback(visit.close)
        if self.world.is_guarded:
            for owner in self.world.owners.values():
                if not owner.is_suspended and not owner.is_dropped:
                    visit = self.open("sync", owner)
                    self.require_guard(visit)
                    visit.close()
        self.world.compare()
        self.world.require_nothing_left()


def state_of(connection: Connection) -> tuple[object, ...]:
    """Return what a session may have changed on a caller's connection; without a tenant, no row is found.

    :raises LeakError: if one is.
    """
    for statement in FIND:
        with suppress(DBAPIError), connection.begin_nested():
            raise LeakError(f"a connection without a tenant has found {connection.scalars(statement).all()}")
    settings = text("SELECT current_setting('search_path'), coalesce(current_setting('tenantkit.tenant', true), '')")
    return (dict(connection.get_execution_options()), connection.execute(settings).one())
