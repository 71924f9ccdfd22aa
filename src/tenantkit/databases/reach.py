"""Work in several databases at once, some of which may be down."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from sqlalchemy import Connection

from tenantkit.databases.base import Databases, connected, shares_transaction
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.errors import reason
from tenantkit.postgres.retry import is_away

T = TypeVar("T")

_UNKNOWN_TO_PGBOUNCER = ("bouncer config error", "no such database")
"""PgBouncer's errors for a database that its configuration does not name."""
_WILDCARD = "; PgBouncer needs a line for it, or for all: '* = host=...' in [databases]"

AT_ONCE = 16
"""Maximum number of databases in which work is done at the same time."""


@dataclass(frozen=True, slots=True)
class Reached(Generic[T]):
    """The results of work in several databases."""

    results: dict[str, T]
    """The result in each database that was reached, by its name."""
    unreachable: dict[str, str]
    """The reason for each other one."""


def unreachable(database: str, error: BaseException) -> str | None:
    """Return the description of an *error* that means that *database* is down; ``None`` for any other error."""
    if not is_away(error):
        return None
    why = as_clause(reason(error))
    hint = _WILDCARD if any(words in why for words in _UNKNOWN_TO_PGBOUNCER) else ""
    return f"the database {database!r} cannot be reached: {why}{hint}"


def in_each(
    databases: Databases,
    main: Connection,
    names: Collection[str],
    work: Callable[[str, Connection], T],
    *,
    isolation_level: str = "READ COMMITTED",
) -> Reached[T]:
    """Return the results of *work*, which receives the name of a database and a connection to it.

    It is done in the main database, by the connection *main*, in this thread, and at the same time in the other ones in
    threads of their own, `AT_ONCE` at most. Where a database is down, the others' results are not lost.

    :param isolation_level: of the connections to other databases.
    """
    results, problems = dict[str, T](), dict[str, BaseException]()
    done: SimpleQueue[None] = SimpleQueue()
    pending: SimpleQueue[str] = SimpleQueue()

    def perform(name: str) -> None:
        try:
            with connected(databases, name, main, isolation_level=isolation_level) as connection:
                result = work(name, connection)
            results[name] = result  # when the connection is back in its pool
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that asked
            problems[name] = error
        done.put(None)

    def perform_pending() -> None:
        with suppress(Empty):
            while True:
                perform(pending.get_nowait())

    here = [name for name in names if shares_transaction(databases, name)]
    elsewhere = [name for name in names if name not in here]
    # Daemons: after Ctrl-C, a database that does not answer must not prevent that the process ends.
    for name in elsewhere:
        pending.put(name)
    for number in range(min(len(elsewhere), AT_ONCE)):
        Thread(target=perform_pending, name=f"tenantkit-{number}", daemon=True).start()
    failures: list[BaseException] = []
    try:
        results.update({name: work(name, main) for name in here})
    except Exception as error:  # noqa: BLE001 - raised again, when the threads have ended
        failures.append(error)
    for _ in elsewhere:
        done.get()
    reasons = {name: unreachable(name, problem) for name, problem in problems.items()}
    failures += [problem for name, problem in problems.items() if reasons[name] is None]
    if failures:
        raise failures[0]
    return Reached(results, {name: words for name, words in reasons.items() if words is not None})
