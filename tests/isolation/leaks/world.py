"""The deployment under test, as its operator and the server's superuser see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from tenantkit.isolation.roles import role_of
from tests.isolation.contract.application import seed
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import Kind
from tests.isolation.leaks.model import LeakError, Owner, Rows
from tests.isolation.leaks.tenants import KINDS
from tests.support.blocking import in_sync
from tests.support.processes import until

_LEFT = text(
    """
    SELECT current_setting('search_path') <> '"$user", public' OR current_user <> session_user
        OR coalesce(current_setting('tenantkit.tenant', true), '') <> ''
        OR coalesce(current_setting('app.who', true), '') <> ''
        OR to_regclass('pg_temp.left_over') IS NOT NULL
        OR EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
        OR EXISTS (SELECT FROM pg_cursors WHERE name <> '' AND is_holdable)
        OR EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'left_over')
    """
)


class World:
    """The tenants of the state machine, what they must have, and what they have."""

    def __init__(self, deployments: Mapping[str, Deployment], kinds: Mapping[str, Kind] = KINDS) -> None:
        """Take one deployment, as it is reached by each driver, and the isolation of each tenant."""
        self.deployments = deployments
        self.is_guarded = kinds is not KINDS
        """Whether the database itself refuses what is another tenant's."""
        self.ran: Counter[tuple[str, ...]] = Counter()
        """How often each action has run: with its kind, the isolation and the driver."""
        self._operated = next(iter(deployments.values()))
        self._planted: str | None = None
        self._engines: dict[str, Engine] = {}
        for name in self._operated.engines:
            with self._engine(name).connect() as connection:  # what a fault leaves must not be waited for
                connection.exec_driver_sql(f"ALTER DATABASE {connection.engine.url.database} SET lock_timeout = '5s'")
            self._dispose(name)
        bindings = map(self._operated.operator.bind, self._operated.operator.list())
        self._columns = {each.tenant.key: None if each.column is None else each.column.name for each in bindings}
        self.owners = {tenant.key: Owner(tenant, kinds[tenant.key]) for tenant in self._operated.operator.list()}

    def clear(self) -> None:
        """Remove all rows, and let all tenants be served."""
        for owner in [*self.owners.values()]:
            owner.rows, owner.writer = {}, None
            if owner.is_dropped:  # by an example that has failed
                self.create_again(owner)
            elif owner.is_suspended:
                self.resume(owner)
        self._execute_planted()
        for engine, owners in self._by_engine():
            tables = [f'"{owner.tenant.schema}".{table}' for owner in owners for table in ("task", "entry")]
            with engine.connect() as connection:
                connection.exec_driver_sql("; ".join(f"DELETE FROM {table}" for table in dict.fromkeys(tables)))

    def compare(self) -> None:
        """Raise unless the database has what the tenants have committed, and nothing else.

        :raises LeakError: if it has not.
        """
        expected = {owner.key: owner.rows for owner in self.owners.values()}
        if (found := self.rows()) != expected:
            raise LeakError(f"the database has {found}, not {expected}")

    def rows(self) -> dict[str, Rows]:
        """Return what the database has of each tenant, and of unknown ones."""
        found: dict[str, Rows] = {key: {} for key in self.owners}
        for engine, owners in self._by_engine():
            with engine.connect() as connection:
                for key, number, title in connection.exec_driver_sql(" UNION ALL ".join(self._queries(owners))):
                    found.setdefault(key, {})[number] = title
        return found

    def named(self, key: str) -> Owner:
        """Return the tenant with this key, or another one if this deployment has none."""
        return self.owners.get(key) or [*self.owners.values()][sum(key.encode()) % len(self.owners)]

    def _by_engine(self) -> Iterator[tuple[Engine, list[Owner]]]:
        owners = [owner for owner in self.owners.values() if not owner.is_dropped]
        for name in sorted({owner.tenant.placement.database for owner in owners}):
            yield self._engine(name), [owner for owner in owners if owner.tenant.placement.database == name]

    def _engine(self, database: str) -> Engine:
        """Return an engine of the superuser for a database."""
        if database not in self._engines:
            name, _, own = database.partition("/")
            url = self._operated.engines[name].url
            self._engines[database] = create_engine(url.set(database=own) if own else url, isolation_level="AUTOCOMMIT")
        return self._engines[database]

    def _dispose(self, database: str) -> None:
        if (engine := self._engines.pop(database, None)) is not None:
            engine.dispose()

    def close(self) -> None:
        """Close all connections."""
        for database in [*self._engines]:
            self._dispose(database)

    def _queries(self, owners: Iterable[Owner]) -> list[str]:
        queries: dict[str, str] = {}
        cases = " ".join(f"WHEN {owner.tenant.id} THEN '{owner.key}'" for owner in owners)
        for owner in owners:
            schema, column = owner.tenant.schema, self.column(owner)
            key = f"'{owner.key}'" if column is None else f"CASE {column} {cases} ELSE 'unknown' END"
            queries[schema] = f'SELECT {key}, id, title FROM "{schema}".task'
        return [*queries.values()]

    def column(self, owner: Owner) -> str | None:
        """Return the name of the tenant column, if a tenant has its rows in common tables."""
        return self._columns[owner.key]

    def require_nothing_left(self) -> None:
        """Raise if a pooled connection has anything of a transaction before.

        :raises LeakError: if one has.
        """
        for driver, deployment in self.deployments.items():
            for first, second in zip(deployment.plain_sessions(), deployment.plain_sessions(), strict=True):
                with first as one, second as other:
                    if in_sync(one, has_left) or in_sync(other, has_left):
                        raise LeakError(f"{driver}: something is left on a connection")

    # The operator

    def suspend(self, owner: Owner) -> None:
        """Suspend a tenant."""
        owner.tenant, owner.is_suspended = self._operated.operator.suspend(owner.key), True
        self._notify()

    def let_only_read(self, owner: Owner) -> None:
        """Make a tenant read-only."""
        owner.tenant = self._operated.operator.suspend(owner.key, read_only=True)
        self._notify()

    def resume(self, owner: Owner) -> None:
        """Serve it again."""
        owner.tenant, owner.is_suspended = self._operated.operator.resume(owner.key), False
        self._notify()

    def drop(self, owner: Owner) -> None:
        """Remove a tenant."""
        self._dispose(owner.tenant.placement.database)  # as the operator cannot end connections of a superuser
        self._operated.operator.drop(owner.key)
        owner.is_dropped = True
        self._notify()

    def create_again(self, owner: Owner) -> Owner:
        """Create another tenant with the key of one that was removed."""
        options = self._operated.kind.tenants[owner.key]
        tenant = self._operated.operator.create(owner.key, seed=seed, **options)
        self._notify()
        self.owners[owner.key] = Owner(tenant, owner.kind, owner.generation + 1)
        return self.owners[owner.key]

    def _notify(self) -> None:
        """Do what a notification does, at once."""
        for deployment in self.deployments.values():
            application = deployment.application
            getattr(application, "sync", application).cache.clear()

    # The server

    def alter_common(self, statement: str) -> None:
        """Execute a statement in each schema with common tables."""
        for owner in self.owners.values():
            if self.column(owner) is not None:
                with self._engine(owner.tenant.placement.database).connect() as connection:
                    connection.exec_driver_sql(statement.format(schema=f'"{owner.tenant.schema}"'))

    def plant(self, statement: str) -> None:
        """Have a statement executed before each example.

        ``{schema1}`` in it is the role of that tenant, and ``{schema1_place}`` its schema.
        """
        self._planted = statement

    def _execute_planted(self) -> None:
        if self._planted is not None:
            names = {key: role_of(owner.tenant) for key, owner in self.owners.items()}
            names |= {f"{key}_place": owner.tenant.schema for key, owner in self.owners.items()}
            with self._engine("main").connect() as connection:
                connection.exec_driver_sql(self._planted.format(**names))

    def kill(self, owner: Owner, pid: int) -> None:
        """End a connection of a tenant, and wait until it has ended."""
        # With a timeout, pg_terminate_backend() waits for 100 ms at a time.
        self._await(
            owner, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = ANY(:pids)", [pid]
        )

    def await_idle(self, owner: Owner, pids: Iterable[int]) -> None:
        """Wait until none of these connections is in a transaction any more."""
        self._await(owner, "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids) AND state <> 'idle'", pids)

    def _await(self, owner: Owner, query: str, pids: Iterable[int]) -> None:
        def is_over() -> bool:
            with self._engine(owner.tenant.placement.database).connect() as connection:
                return connection.scalar(text(query), {"pids": [*pids]}) == 0

        until(is_over, seconds=20)


def has_left(session: Session) -> Any:
    """Return whether a transaction before has left anything on the connection."""
    return session.scalar(_LEFT)
