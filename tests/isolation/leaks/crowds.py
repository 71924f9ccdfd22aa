"""Sessions of many threads and tasks at the same time, each with rows of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tenantkit.asyncio import AsyncTenancy
from tests.isolation.contract.application import Task
from tests.isolation.leaks.model import LeakError, Owner, Rows
from tests.isolation.leaks.visits import LOCKING, WAYS_TO_READ
from tests.isolation.leaks.world import World

Kill = Callable[[Owner, int], None]

_TABLE: Any = Task.__table__


@dataclass(eq=False)
class Plan:
    """What one session does."""

    driver: str
    owner: Owner
    place: int
    """Makes primary keys that no other plan has."""
    actions: list[str]
    end: str
    kill: Kill
    pending: Rows = field(default_factory=dict)
    committed: Rows = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    """The server's processes in whose transactions it has written."""

    def new_row(self) -> dict[str, Any]:
        number = 100 * self.place + len(self.pending) + len(self.committed)
        return {"id": number, "title": self.owner.new_title(), "project_id": 1}


def reads(session: Session, plan: Plan) -> None:
    titles: list[str] = []
    ways = [way for way in WAYS_TO_READ if way not in LOCKING]
    for way in (ways[plan.place % len(ways)], "text", "entities"):
        session.expire_all()
        # The count of an aggregate is no title.
        titles = [title for title in WAYS_TO_READ[way](session) if title and " " not in title]
        plan.owner.require_own(titles, f"{way} in a crowd")
    if missing := {*plan.pending.values(), *plan.committed.values()} - {*titles}:
        raise LeakError(f"{plan.owner.key} has lost {missing} in a crowd")


def _written(session: Session, plan: Plan, row: dict[str, Any]) -> None:
    plan.pids.add(session.scalar(text("SELECT pg_backend_pid()")) or 0)
    plan.pending[row["id"]] = row["title"]


def adds(session: Session, plan: Plan) -> None:
    row = plan.new_row()
    session.add(Task(**row))
    session.flush()
    _written(session, plan, row)


def inserts(session: Session, plan: Plan) -> None:
    row = plan.new_row()
    session.execute(insert(_TABLE), [row])
    _written(session, plan, row)


def inserts_text(session: Session, plan: Plan) -> None:
    row = plan.new_row()
    session.execute(text("INSERT INTO task (id, title, project_id) VALUES (:id, :title, :project_id)"), row)
    _written(session, plan, row)


def upserts(session: Session, plan: Plan) -> None:
    row = plan.new_row()
    statement = upsert(Task).values(row)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"title": statement.excluded.title}))
    _written(session, plan, row)


def updates(session: Session, plan: Plan) -> None:
    title = plan.owner.new_title()
    statement = update(_TABLE).values(title=title).where(_TABLE.c.id.in_([*plan.pending]))
    changed: Any = session.execute(statement)
    if changed.rowcount != len(plan.pending):
        raise LeakError(f"{plan.owner.key} has changed {changed.rowcount} rows, not {len(plan.pending)}")
    plan.pending = dict.fromkeys(plan.pending, title)


def nests(session: Session, plan: Plan) -> None:
    with suppress(DBAPIError), session.begin_nested():
        session.execute(insert(_TABLE), [plan.new_row()])
        session.execute(text("SELECT 1 / 0"))


def leaves(session: Session, plan: Plan) -> None:
    session.execute(text("SET app.who = 'somebody'"))


def commits(session: Session, plan: Plan) -> None:
    session.commit()
    plan.committed |= plan.pending
    plan.pending = {}


def rolls_back(session: Session, plan: Plan) -> None:
    session.rollback()
    plan.pending = {}


ACTIONS: dict[str, Callable[[Session, Plan], None]] = {
    each.__name__: each
    for each in (reads, adds, inserts, inserts_text, upserts, updates, nests, leaves, commits, rolls_back)
}
ENDS = ("commits", "rolls_back", "raises", "dies")


class _Raised(Exception):  # noqa: N818 - an error of the application
    pass


def work(session: Session, plan: Plan) -> None:
    """Do what is planned."""
    for action in plan.actions:
        ACTIONS[action](session, plan)
    match plan.end:
        case "raises":
            raise _Raised
        case "dies":
            plan.kill(plan.owner, session.scalar(text("SELECT pg_backend_pid()")) or 0)
            with suppress(Exception):  # each driver has its own
                session.scalar(text("SELECT title FROM task LIMIT 1"))
                raise LeakError("the connection was not ended")
            session.rollback()
        case end:
            ACTIONS[end](session, plan)


async def work_async(tenancy: AsyncTenancy, plan: Plan) -> None:
    """Do what is planned in a task."""
    with suppress(_Raised):
        async with tenancy.session(plan.owner.key) as session:
            await session.run_sync(work, plan)


async def cancel(tenancy: AsyncTenancy, plan: Plan, ticks: int) -> None:
    """Do what is planned in a task that is cancelled after some steps of the loop."""
    task = asyncio.create_task(work_async(tenancy, plan))
    for _ in range(ticks):
        await asyncio.sleep(0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def gather(world: World, plans: Iterable[Plan]) -> None:
    """Do all *plans* at the same time, and add what they have committed to the model."""

    def work_in_thread(plan: Plan) -> None:
        with suppress(_Raised), world.deployments[plan.driver].application.session(plan.owner.key) as session:
            work(session, plan)

    plans = [*plans]
    with ThreadPoolExecutor(len(plans)) as threads:
        running: list[Future[None]] = []
        for plan in plans:
            application = world.deployments[plan.driver].application
            if plan.driver == "sync":
                running.append(threads.submit(work_in_thread, plan))
            else:
                running.append(application._portal.start_task_soon(work_async, application._target, plan))
        errors = [error for future in running if (error := future.exception()) is not None]
    for plan in plans:
        add_rows(plan.owner, plan.committed)
    if errors:
        raise errors[0]


def add_rows(owner: Owner, rows: Rows) -> None:
    """Add *rows* to those of a tenant, as its open sessions find them, too."""
    owner.rows |= rows
    if owner.writer is not None and owner.writer.pending is not None:
        owner.writer.pending |= rows
