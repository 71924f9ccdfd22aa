"""The databases of a tenancy, each with its tenants."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from tenantkit.arguments import require
from tenantkit.databases.base import by_database, each_database
from tenantkit.databases.reach import in_each
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.migrations.planning.version_tables import read_revisions
from tenantkit.migrations.results.heads import format_heads
from tenantkit.migrations.results.status import DatabaseStatus
from tenantkit.registry import store
from tenantkit.status import MIGRATED

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SIZE = text("SELECT pg_database_size(current_database())")


class _Found(NamedTuple):
    size: int | None
    revisions: Counter[str | None]


_NOTHING = _Found(None, Counter())


def databases(tenancy: Deployment) -> tuple[DatabaseStatus, ...]:
    """Return the databases of a tenancy, in the order in which it names them, and those of single tenants.

    All are asked at once; one that is down is among them, with the reason.
    """
    require(tenancy=(tenancy, TENANCY))
    with tenancy.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        counts = store.count_by_database(connection)
        targets = tenancy.isolations.targets(store.find(connection, status=MIGRATED))
        there = by_database(tenancy.databases, targets)

        def look(name: str, other: Connection) -> _Found:
            heads = read_revisions(other, [placement.schema for placement in there.get(name, ())])
            size: int = other.execute(_SIZE).scalar_one()
            return _Found(size, Counter(format_heads(each) or None for each in heads.values()))

        names = each_database(tenancy.databases, targets)
        reached = in_each(tenancy.databases, connection, names, look, isolation_level="AUTOCOMMIT")
    return tuple(
        DatabaseStatus(
            name=name,
            tenants=counts.get(name, 0),
            size=found.size,
            revisions=dict(found.revisions.most_common()),
            error=reached.unreachable.get(name),
        )
        for name in names
        for found in [reached.results.get(name, _NOTHING)]
    )
