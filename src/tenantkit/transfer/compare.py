"""Differences between the rows of a tenant and those of its restored copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from tenantkit.deployment import Deployment
from tenantkit.registry import store
from tenantkit.tenant import Tenant
from tenantkit.transfer.results import TableDifference
from tenantkit.transfer.source import Source, reading


class _Sum(NamedTuple):
    rows: int
    checksum: str | None


def compare(
    tenancy: Deployment, connection: Connection, living: Tenant, restored: Tenant
) -> tuple[TableDifference, ...]:
    """Return the differences, table by table, of *restored* from the *living* tenant, whose key may have changed.

    The columns that both have are compared. Each tenant is read in a snapshot of its own.
    """
    with connection.begin():
        live = store.get_again(living, connection, living.key)
    columns = {tenant.id: _columns(tenancy, tenant) for tenant in (live, restored)}
    both = {
        name: sorted(columns[live.id][name] & columns[restored.id][name])
        for name in columns[live.id].keys() & columns[restored.id].keys()
    }
    ours, theirs = (_sums(tenancy, tenant, both) for tenant in (live, restored))
    return tuple(
        TableDifference(
            table=name,
            live=ours[name].rows if name in ours else None,
            restored=theirs[name].rows if name in theirs else None,
            is_equal=ours.get(name) == theirs.get(name),
        )
        for name in sorted(columns[live.id].keys() | columns[restored.id].keys())
    )


def _columns(tenancy: Deployment, tenant: Tenant) -> dict[str, set[str]]:
    with reading(tenancy, tenant) as source:
        return {table.name: {column.name for column in table.columns} for table in source.wholes}


def _sums(tenancy: Deployment, tenant: Tenant, columns: Mapping[str, list[str]]) -> dict[str, _Sum]:
    with reading(tenancy, tenant) as source:
        return {name: _sum(source, name, chosen) for name, chosen in columns.items()}


def _sum(source: Source, table: str, columns: list[str]) -> _Sum:
    rows = source.query(table, columns)
    found = source.connection.exec_driver_sql(
        "SELECT count(*) AS rows, sum(hashtextextended(compared::text, 0)::numeric)::text AS checksum "  # noqa: S608
        f"FROM ({rows}) AS compared".replace("%", "%%")
    ).one()
    return _Sum(found.rows, found.checksum)
