"""The ledger of runs in the database: functions of a connection, in the caller's transaction.

A run first records its plan and then, in the transaction that migrates a tenant, the tenant's outcome. So after a crash
the ledger and the schemas agree, and a tenant that is still ``planned`` was not migrated. In other databases, that is
true of a ledger of their own, which is copied to the registry: see `tenantkit.migrations.runs.reconcile`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Text, case, cast, func, insert, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB

from tenantkit.databases.base import Databases, shares_transaction
from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_literal
from tenantkit.registry.tables import outcomes, runs, tenants
from tenantkit.sqlalchemy_versions import distinct_on

# A tenant may have been dropped meanwhile.
_PLAN = text(
    """
    INSERT INTO tenantkit.outcomes (run_id, tenant_id, status, from_revision)
    SELECT :run, id, 'planned', nullif(revision, '')
    FROM unnest(CAST(:ids AS bigint[]), CAST(:revisions AS text[])) AS planned (tenant_id, revision)
    JOIN tenantkit.tenants ON id = tenant_id
    FOR SHARE OF tenants
    """
)


_WAIT_FOR_DISK = text(
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)


def start_run(
    connection: Connection, *, command: str, target: str, options: Mapping[str, Any], planned: Sequence[tuple[int, str]]
) -> int:
    """Record a new run with its tenants, each as its id and its revision; return the run's number."""
    number: int = connection.execute(
        insert(runs)
        .values(command=command, target=target, options=cast(literal(dumps(dict(options)), Text), JSONB))
        .returning(runs.c.id)
    ).scalar_one()
    if planned:
        ids, revisions = zip(*planned, strict=True)
        connection.execute(_PLAN, {"run": number, "ids": list(ids), "revisions": list(revisions)})
    return number


def settle(connection: Connection, run_id: int) -> set[int]:
    """Flush all earlier commits to disk at the end of this transaction; return the tenants that are not done.

    A server that crashes loses transactions that did not wait for its disk, although it had reported their commit.
    """
    # A commit waits for the disk only if it writes, and unless the server's configuration turns that off.
    connection.execute(_WAIT_FOR_DISK)
    if not connection.execute(update(runs).where(runs.c.id == run_id).values(target=runs.c.target)).rowcount:
        raise ConfigurationError(
            f"Run {run_id} is not in the ledger any more, so the server has lost its last transactions. "
            "'tenantkit status' shows the tenants' revisions; run the command again for those that are behind."
        )
    query = select(outcomes.c.tenant_id).where(outcomes.c.run_id == run_id, outcomes.c.status == "planned")
    return set(connection.execute(query).scalars())


def finish_run(connection: Connection, run_id: int) -> None:
    """Record the end of a run."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(finished_at=func.now()))


class Ledger(Protocol):
    """The outcome of one placement in one run, as an executor writes it in the placement's own transaction."""

    @property
    def shares_transaction(self) -> bool:
        """Whether that is the registry's own ledger. If not, the run copies the outcome to it after the transaction."""
        ...

    def done(self, *, engine: str, from_revision: str, to_revision: str, attempts: int) -> str:
        """Return the complete statement that records that the placement is migrated; empty if there is none."""
        ...

    def begun(self, *, engine: str, from_revision: str, to_revision: str) -> str:
        """Return the complete statement that records that a part of the plan is committed; empty if there is none."""
        ...

    def is_done(self, connection: Connection, /) -> bool:
        """Return whether the placement is recorded as migrated."""
        ...


@dataclass(frozen=True, slots=True)
class PlacementLedger:
    """The ledger of a placement: the registry's in the main database, and a local one in any other.

    In another database, the run then copies the outcome to the registry. If it dies before that, the next run does.
    """

    run_id: int
    tenant_id: int
    shares_transaction: bool

    def done(self, *, engine: str, from_revision: str, to_revision: str, attempts: int) -> str:
        """Return the statement."""
        return self._write(
            "unchanged" if from_revision == to_revision else "done", engine, from_revision, to_revision, attempts
        )

    def begun(self, *, engine: str, from_revision: str, to_revision: str) -> str:
        """Return the statement."""
        return self._write("planned", engine, from_revision, to_revision)

    def is_done(self, connection: Connection, /) -> bool:
        """Return whether the run has migrated the placement."""
        query = select(outcomes.c.status)
        query = query.where(outcomes.c.run_id == self.run_id, outcomes.c.tenant_id == self.tenant_id)
        return connection.execute(query).scalar() == "done"

    def _write(self, status: str, engine: str, from_revision: str, to_revision: str, attempts: int = 1) -> str:
        # A retry after a lost answer may find the tenant unchanged, although this run has migrated it.
        condition = "outcomes.status <> 'done'" if status == "unchanged" else "true"
        before, after = (f"nullif({quote_literal(revision)}, '')" for revision in (from_revision, to_revision))
        values = {
            "status": quote_literal(status),
            "engine": quote_literal(engine),
            "attempts": str(attempts),
            "to_revision": after,
            "from_revision": before,
            "duration_ms": "date_part('epoch', clock_timestamp() - now()) * 1000",
            "finished_at": "clock_timestamp()",
        }
        # The starting point of an earlier part of the same run is kept.
        kept = f"CASE WHEN outcomes.to_revision = {before} THEN outcomes.from_revision ELSE {before} END"
        changes = ", ".join(f"{name} = {value}" for name, value in (values | {"from_revision": kept}).items())
        if self.shares_transaction:
            return (
                f"UPDATE tenantkit.outcomes SET {changes} "  # noqa: S608 - numbers, and quoted
                f"WHERE run_id = {self.run_id} AND tenant_id = {self.tenant_id} AND {condition}"
            )
        return (
            f"INSERT INTO tenantkit.outcomes (run_id, tenant_id, {', '.join(values)}) "  # noqa: S608 - numbers, and quoted
            f"VALUES ({self.run_id}, {self.tenant_id}, {', '.join(values.values())}) "
            f"ON CONFLICT (run_id, tenant_id) DO UPDATE SET {changes} WHERE {condition}"
        )


class NoLedger:
    """The ledger of a placement that no run records, such as that of the shared tables."""

    shares_transaction = False

    def done(self, **_: Any) -> str:
        """Return nothing."""
        return ""

    def begun(self, **_: Any) -> str:
        """Return nothing."""
        return ""

    def is_done(self, _connection: Connection, /) -> bool:
        """Return that nothing is known."""
        return False


def ledger_for(databases: Databases, database: str, run_id: int, tenant_id: int) -> Ledger:
    """Return the ledger of a placement in *database*."""
    return PlacementLedger(run_id, tenant_id, shares_transaction(databases, database))


def unsettled(connection: Connection, databases: Sequence[str]) -> Sequence[Row[Any]]:
    """Return the outcomes that are ``planned``, of tenants outside of *databases*, with the database of each."""
    query: Any = select(outcomes.c.run_id, outcomes.c.tenant_id, tenants.c.database)
    query = query.join_from(outcomes, tenants, tenants.c.id == outcomes.c.tenant_id)
    is_open = query.where(outcomes.c.status == "planned", tenants.c.database.not_in(databases))
    return connection.execute(is_open).all()


_LOCAL = (
    *(outcomes.c.run_id, outcomes.c.tenant_id, outcomes.c.status, outcomes.c.engine, outcomes.c.attempts),
    *(outcomes.c.from_revision, outcomes.c.to_revision, outcomes.c.duration_ms),
)


def find_local(connection: Connection, keys: Collection[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return the values of outcomes, by the ids of run and tenant, in the ledger of a database without the registry."""
    if connection.scalar(text("SELECT to_regclass('tenantkit.outcomes') IS NULL")):
        return []
    rows = connection.execute(select(*_LOCAL).where(tuple_(outcomes.c.run_id, outcomes.c.tenant_id).in_(keys)))
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 - its public name


def record(connection: Connection, run_id: int, tenant_id: int, **values: Any) -> None:
    """Record an outcome that no placement's transaction has recorded; do nothing if the tenant was dropped meanwhile.

    An outcome that is done stays.
    """
    is_open = outcomes.c.status != "done"
    before, after = values.pop("from_revision"), values.pop("to_revision")
    if before is not None or after is not None:  # otherwise the revisions are not known; a part may be done
        values["from_revision"] = case((outcomes.c.to_revision == before, outcomes.c.from_revision), else_=before)
        values["to_revision"] = after
    connection.execute(
        update(outcomes)
        .where(outcomes.c.run_id == run_id, outcomes.c.tenant_id == tenant_id, is_open)
        .values(finished_at=func.now(), **values)
    )


def changed_since(connection: Connection, run_id: int) -> dict[int, int]:
    """Return, by a tenant's id, the last run that has migrated it after this one; runs may overlap."""
    later = outcomes.alias()
    query = (
        select(later.c.tenant_id, later.c.run_id)
        .join(outcomes, outcomes.c.tenant_id == later.c.tenant_id)
        .where(outcomes.c.run_id == run_id, later.c.run_id != run_id)
        .where(later.c.status == "done", later.c.finished_at > outcomes.c.finished_at)
        .order_by(later.c.finished_at)
    )
    return {row.tenant_id: row.run_id for row in connection.execute(query)}


def last_failures(connection: Connection) -> dict[str, Row[Any]]:
    """Return, by key, the error and its place of each tenant whose last outcome in any run is a failure."""
    facts = (outcomes.c.error, outcomes.c.revision, outcomes.c.file, outcomes.c.line)
    all_of_tenants = select(outcomes.c.tenant_id, outcomes.c.status, *facts)
    last = (
        distinct_on(all_of_tenants, outcomes.c.tenant_id)
        .where(outcomes.c.status != "planned")
        .order_by(outcomes.c.tenant_id, outcomes.c.run_id.desc())
        .subquery()
    )
    query: Any = (
        select(tenants.c.key, *(last.c[fact.name] for fact in facts))
        .join(last, last.c.tenant_id == tenants.c.id)
        .where(last.c.status == "failed")
    )
    return {row.key: row for row in connection.execute(query)}


def last_outcome(connection: Connection, tenant_id: int) -> Row[Any] | None:
    """Return a tenant's outcome in the last run that has reached it, with the run's command and target."""
    query = (
        select(outcomes, runs.c.command, runs.c.target)
        .join(runs)
        .where(outcomes.c.tenant_id == tenant_id, outcomes.c.status != "planned")
        .order_by(outcomes.c.run_id.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


def find_runs(connection: Connection, *, run_id: int | None = None, limit: int | None = None) -> Sequence[Row[Any]]:
    """Return runs, the newest first, each with the number of its tenants by status."""
    counts = {
        status: func.count(outcomes.c.tenant_id).filter(outcomes.c.status == status).label(status)
        for status in ("done", "unchanged", "failed", "planned")
    }
    query = select(runs, *counts.values()).outerjoin(outcomes).group_by(runs.c.id).order_by(runs.c.id.desc())
    if run_id is not None:
        query = query.where(runs.c.id == run_id)
    return connection.execute(query.limit(limit)).all()


def find_outcomes(connection: Connection, run_id: int) -> Sequence[Row[Any]]:
    """Return the outcome of each tenant in a run, in the order of their keys."""
    query = select(outcomes, tenants.c.key, tenants.c.database, tenants.c.schema).join(tenants)
    return connection.execute(query.where(outcomes.c.run_id == run_id).order_by(tenants.c.key)).all()
