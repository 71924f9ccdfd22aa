"""Detection of the sessions for which a run waits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from tenantkit.databases.base import by_database, split_key
from tenantkit.migrations.environment.targets import shared_target
from tenantkit.migrations.results.progress import Progress, Waiting
from tenantkit.migrations.runs.shared import SHARED
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.blockers import read_blockers

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tenantkit.deployment import Deployment
    from tenantkit.tenant import Tenant

_EVERY = 0.3
"""Seconds between two queries."""
_GRACE = 1.0
"""Seconds for the last query to end."""
_REPEAT_AFTER = 10.0
"""Seconds after which a wait for the same sessions is reported again."""

_NAMESPACE, _SCHEMA = (f"(({part})::bigint & 4294967295)" for part in PLACEMENT.format(schema="schema").split(", ", 1))
"""The two numbers of a claim in pg_locks, unsigned."""

# Every engine holds the claim on a placement while it works on it.
_WAITING = text(
    f"""
    SELECT claim.pid, nullif(datname, current_database()) AS name, claim.objid::bigint AS claimed,
        pg_blocking_pids(claim.pid) AS blockers
    FROM pg_locks claim JOIN pg_database ON pg_database.oid = claim.database
    WHERE claim.locktype = 'advisory' AND claim.granted AND claim.classid::bigint = {_NAMESPACE}
        AND (datname = current_database() OR datname = ANY(:names))
        AND claim.pid IN (
            SELECT pid FROM pg_locks WHERE NOT granted AND waitstart < clock_timestamp() - interval '300 ms'
        )
    """  # noqa: S608 - ours
)
_CLAIMS = text(f"SELECT schema, {_SCHEMA} AS claimed FROM unnest(CAST(:schemas AS text[])) AS schema")  # noqa: S608 - ours


class Watch:
    """Checks a few times per second whether a migration waits for locks, and reports the sessions that hold them."""

    def __init__(
        self, engine: Engine, keys: Mapping[tuple[str | None, str], str], report: Callable[[Waiting], object]
    ) -> None:
        """Watch the placements in *keys*, whose values are the keys of their tenants.

        A placement is a schema, and the database that it is in on the server of *engine*; ``None`` for the engine's.
        """
        self._engine = engine
        self._keys = keys
        self._report = report
        self._names = [name for name, _ in keys if name is not None]
        self._claims: dict[tuple[str | None, int], str] | None = None
        self._reported: dict[str, tuple[tuple[int, ...], float]] = {}

    @contextmanager
    def watching(self) -> Generator[None]:
        """Check for the duration of a block, in another thread."""
        ended = Event()
        thread = Thread(target=self._watch, args=(ended,), name="tenantkit-waiting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            # Do not wait for a connection that does not open: the daemon thread ends with the process.
            thread.join(_GRACE)

    def _watch(self, ended: Event) -> None:
        while not ended.wait(_EVERY):
            # The executors report a server that is away.
            with suppress(SQLAlchemyError), self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                if not ended.is_set():
                    self._poll(connection)

    def _poll(self, connection: Connection) -> None:
        waiting = connection.execute(_WAITING, {"names": self._names}).all()
        if waiting and self._claims is None:
            found = connection.execute(_CLAIMS, {"schemas": [*{schema for _, schema in self._keys}]})
            numbers = {row.schema: row.claimed for row in found}
            self._claims = {(name, numbers[schema]): key for (name, schema), key in self._keys.items()}
        for row in waiting:
            key = (self._claims or {}).get((row.name, row.claimed))
            pids = tuple(sorted({*row.blockers}))
            if key is None or not pids or not self._is_new(key, pids):
                continue
            self._report(Waiting(key=key, blockers=read_blockers(connection, pids)))

    def _is_new(self, key: str, pids: tuple[int, ...]) -> bool:
        before, then = self._reported.get(key, ((), 0.0))
        if before == pids and monotonic() - then < _REPEAT_AFTER:
            return False
        self._reported[key] = pids, monotonic()
        return True


def watching_for(
    tenancy: Deployment, progress: Progress, fleet: Sequence[Tenant]
) -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager in which *progress*, if it overrides `waiting`, receives the sessions of waits."""
    if not progress.watches_waits:
        return nullcontext
    keys = {tenant.placement: tenant.key for tenant in fleet}
    if tenancy.shared_schemas:
        keys[shared_target(tenancy).placement] = SHARED
    databases, report = tenancy.databases, progress.waiting
    watched: dict[str, dict[tuple[str | None, str], str]] = {}
    for database, placements in by_database(databases, keys).items():
        name, own = split_key(database)
        watched.setdefault(name, {}).update({(own, each.schema): keys[each] for each in placements})
    watches = [Watch(databases.engine(name), its_keys, report) for name, its_keys in watched.items()]

    @contextmanager
    def watching() -> Generator[None]:
        with ExitStack() as stack:
            for watch in watches:
                stack.enter_context(watch.watching())
            yield

    return watching
