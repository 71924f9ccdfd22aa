"""Sessions that stay open from rule to rule, and what their tenants must find in them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.isolation.contract.application import Task
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.reads import READS, Read
from tests.isolation.contract.surroundings import LEFT, TYPED
from tests.isolation.contract.writes import WRITES
from tests.isolation.leaks.model import LeakError, Owner, Rows
from tests.support.blocking import in_sync

T = TypeVar("T")


def _typed(query: str) -> Read:
    return lambda session: session.scalars(text(query)).all()


WAYS_TO_READ: dict[str, Read] = {
    **{name: read for name, (_, read) in READS.items()},
    **{name: _typed(query) for name, query in TYPED.items()},
}
"""The contract's, and text whose meaning depends on types: a statement that was prepared elsewhere would fail."""

LOCKING = {"for update", "update returning"}
"""Ways to read that lock the rows of other sessions."""

COMMITTING = {"change"}
"""Ways to write that commit in the middle."""


def can_write(owner: Owner, way: str) -> bool:
    """Return whether the tenant's isolation has a way to write."""
    return WRITES[way][0] not in owner.kind.lacks


class Visit:
    """An open session of a tenant."""

    def __init__(self, deployment: Deployment, owner: Owner, opened: Any) -> None:
        """Enter what the application's `session()` has returned."""
        self.deployment = deployment
        self.owner = owner
        self._opened = opened
        self.session = opened.__enter__()
        self.pending: Rows | None = None
        """The tenant's rows as this session has changed them."""
        self.in_transaction = False
        self.has_ended = False

    @property
    def rows(self) -> Rows:
        """The rows that the session must find."""
        return self.owner.rows if self.pending is None else self.pending

    def do(self, function: Callable[[Session], T], *, elsewhere: bool = False) -> T:
        """Return what *function* does with the session; *elsewhere*, in another thread."""
        if elsewhere:
            with ThreadPoolExecutor(1) as threads:
                return threads.submit(copy_context().run, in_sync, self.session, function).result()
        done: T = in_sync(self.session, function)
        return done

    def read(self, way: str, *, elsewhere: bool = False) -> None:
        """Read, and compare what is found with the model."""

        def find(session: Session) -> list[str | None]:
            session.expire_all()  # another session may have changed rows of objects that this one has loaded
            return list(WAYS_TO_READ[way](session))

        self.in_transaction = True
        self.owner.compare(way, self.do(find, elsewhere=elsewhere), self.rows)

    def begin_to_write(self) -> Rows:
        """Take the right to write, and return the rows to change in the model."""
        if self.owner.writer not in {None, self}:
            raise AssertionError("two sessions would wait for each other")
        self.owner.writer = self
        self.in_transaction = True
        if self.pending is None:
            self.pending = dict(self.owner.rows)
        return self.pending

    def write(self, way: str, *, elsewhere: bool = False) -> None:
        """Replace all rows of the tenant by one that is written in a way of the contract."""
        rows, title = self.begin_to_write(), self.owner.new_title()

        def work(session: Session) -> int:
            session.expunge_all()
            deleted: Any = session.execute(delete(Task), execution_options={"synchronize_session": False})
            WRITES[way][1](session, title)
            session.flush()
            return int(deleted.rowcount)

        self._require_count(self.do(work, elsewhere=elsewhere), "delete")
        rows.clear()
        if way in COMMITTING:
            self.owner.rows = {1: ""}
        rows[1] = title

    def add(self) -> None:
        """Add a row."""
        rows, title = self.begin_to_write(), self.owner.new_title()
        number = max(rows, default=0) + 1

        def work(session: Session) -> None:
            session.expunge_all()
            session.add(Task(id=number, title=title, project_id=1))
            session.flush()

        self.do(work)
        rows[number] = title

    def update_all(self, *, by_text: bool) -> None:
        """Change all rows that a statement without a condition reaches."""
        rows, title = self.begin_to_write(), self.owner.new_title()
        statement: Any = update(Task).values(title=title)
        if by_text:
            statement = text("UPDATE task SET title = :title").bindparams(title=title)
        options = {} if by_text else {"synchronize_session": False}

        def work(session: Session) -> int:
            changed: Any = session.execute(statement, execution_options=options)
            return int(changed.rowcount)

        self._require_count(self.do(work), "update")
        for number in rows:
            rows[number] = title

    def _require_count(self, found: int, verb: str) -> None:
        if found != len(self.rows):
            raise LeakError(f"{verb} of all rows of {self.owner.key} has reached {found}, not {len(self.rows)}")

    def stream(self, taken: int, *, close: bool) -> None:
        """Read *taken* rows one by one from the server, with another statement in between."""
        found: list[str] = []

        def work(session: Session) -> None:
            titles = session.scalars(text("SELECT title FROM task"), execution_options={"yield_per": 1})
            for title in titles:
                found.append(title)
                session.scalar(text("SELECT count(*) FROM task"))
                if len(found) >= taken:
                    break
            if close:
                titles.close()

        self.in_transaction = True
        self.do(work)
        self.owner.require_own(found, "a stream")

    def nest(self, end: str) -> None:
        """Write in a savepoint, which is kept, or rolled back, or ended by an error."""
        rows, title = self.begin_to_write(), self.owner.new_title()
        number = max(rows, default=0) + 1

        def work(session: Session) -> None:
            session.expunge_all()
            with suppress(DBAPIError, ZeroDivisionError), session.begin_nested() as savepoint:
                session.add(Task(id=number, title=title, project_id=1))
                session.flush()
                match end:
                    case "rollback":
                        savepoint.rollback()
                    case "error of the database":
                        session.execute(text("SELECT nothing FROM nowhere"))
                    case "error of the application":
                        raise ZeroDivisionError
                    case _:
                        pass

        self.do(work)
        if end == "release":
            rows[number] = title

    def fail(self, statement: str) -> None:
        """Execute a statement that fails, and roll back."""
        try:
            self.do(lambda session: session.execute(text(statement)))
        except DBAPIError:
            self.rollback()
        else:
            raise LeakError(f"{self.owner.key}: {statement!r} has not failed")

    def require_refusal(self, statement: str) -> None:
        """Execute a statement that the database must refuse, in a savepoint."""

        def work(session: Session) -> None:
            with session.begin_nested():
                session.execute(text(statement))

        self.in_transaction = True
        try:
            self.do(work)
        except DBAPIError:
            return
        raise LeakError(f"{self.owner.key}: {statement!r} was not refused")

    def leave(self, name: str) -> None:
        """Leave something on the connection that must not outlive the transaction, and end that."""
        statement, find = LEFT[name]

        def work(session: Session) -> Any:
            session.execute(text(statement))
            return session.scalar(text(find))

        self.in_transaction = True
        assert self.do(work), "nothing was left, so nothing could be found"
        self.commit()

    def end_behind(self, method: str, statement: Any) -> None:
        """End the transaction by the connection's own method: the session must refuse to execute a *statement*."""
        self.do(lambda session: getattr(session.connection(), method)())
        try:
            found = self.do(lambda session: list(session.scalars(statement)))
        except Exception:  # noqa: BLE001 - several layers may notice it first
            if method == "commit" and self.pending is not None:
                self.owner.rows = self.pending
            self.rollback()
        else:
            raise LeakError(f"{self.owner.key} has found {found} after its transaction was ended by {method}()")

    def kill(self, kill: Callable[[Owner, int], None]) -> None:
        """Have the server end the connection in the middle of a transaction."""
        kill(self.owner, self.do(lambda session: session.scalar(text("SELECT pg_backend_pid()"))))
        try:
            self.do(lambda session: session.scalar(text("SELECT count(*) FROM task")))
        except Exception:  # noqa: BLE001 - each driver has its own
            self.rollback()
        else:
            raise LeakError(f"{self.owner.key}: the connection was not ended")

    def commit(self) -> None:
        """Commit, and make the changes those of the tenant."""
        self.session.commit()
        if self.pending is not None:
            self.owner.rows = self.pending
        self._forget()

    def rollback(self) -> None:
        """Roll back."""
        self.session.rollback()
        self._forget()

    def close(self, how: str = "close") -> None:
        """End the session, unless it has ended."""
        if self.has_ended:
            return
        self.has_ended = True
        if how == "commit":
            self.commit()
        elif how == "invalidate":
            self.session.invalidate()
        self._opened.__exit__(None, None, None)
        self._forget()

    def _forget(self) -> None:
        self.pending = None
        self.in_transaction = False
        if self.owner.writer is self:
            self.owner.writer = None
