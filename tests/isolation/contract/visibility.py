"""Cases of visibility: what one tenant writes by any way, no other finds by any way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from tenantkit.postgres.errors import sqlstate
from tests.isolation.contract.application import KEYS
from tests.isolation.contract.case import Case
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.reads import READS, Read
from tests.isolation.contract.writes import WRITES, Write

REFUSED = {"0A000", "42P10"}
"""SQLSTATEs of ways to write that an isolation may lack: not supported, and no such key for ON CONFLICT."""


def separates(write: Write, reads: Mapping[str, Read]) -> Callable[[Deployment], bool]:
    """Return whether each tenant finds what it has written itself, and nothing else: see `Case.holds`."""

    def holds(deployment: Deployment) -> bool:
        first, second = KEYS
        own = {key: {name: {key} for name in reads} for key in KEYS}
        try:
            deployment.work(first, lambda session: write(session, first))
        except Exception as error:
            if sqlstate(error) in REFUSED:
                return False
            raise
        assert titles(deployment, first, reads) == own[first]
        if any(titles(deployment, second, reads).values()):
            return False
        deployment.work(second, lambda session: write(session, second))
        return own == {key: titles(deployment, key, reads) for key in KEYS}

    return holds


def titles(deployment: Deployment, key: str, reads: Mapping[str, Read]) -> dict[str, set[str]]:
    """Return the titles that a session of the tenant *key* finds by each of *reads*, before and after a commit."""

    def find(session: Session) -> dict[str, set[str]]:
        return {name: {title for title in read(session) if title} for name, read in reads.items()}

    def find_twice(session: Session) -> dict[str, set[str]]:
        before = find(session)
        session.commit()
        assert find(session) == before
        return before

    return deployment.work(key, find_twice)


def by_every_way(write: Write) -> Callable[[Deployment], bool]:
    """Return whether each tenant finds what it has written itself, and nothing else, by one way of each line."""

    def holds(deployment: Deployment) -> bool:
        reads = {line.title: read for line, read in READS.values() if line not in deployment.kind.lacks}
        return separates(write, reads)(deployment)

    return holds


_, ADD = WRITES["add"]
_, SELECT = READS["entities"]


def fill(deployment: Deployment, keys: Iterable[str] = KEYS) -> None:
    """Give each tenant a task 1 with its key as the title."""
    for key in keys:
        deployment.work(key, lambda session, key=key: ADD(session, key))


CASES: Sequence[Case] = (
    *(
        Case(line, f"written by {name}", separates(write, {"entities": SELECT}))
        for name, (line, write) in WRITES.items()
    ),
    *(Case(line, f"read by {name}", separates(ADD, {name: read})) for name, (line, read) in READS.items()),
)

PRODUCT: Sequence[Case] = tuple(
    Case(line, f"written by {name}, read by every other", by_every_way(write)) for name, (line, write) in WRITES.items()
)
