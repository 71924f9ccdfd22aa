"""Differences between the rows of a tenant and those of its restored copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from tenantkit.arguments import require
from tenantkit.deployment import TENANCY, Deployment
from tenantkit.registry import store
from tenantkit.tenant import KEY, Tenant
from tenantkit.transfer.results import TableDifference
from tenantkit.transfer.source import Source, reading


class Sum(NamedTuple):
    """The number of rows of a table, and a checksum of them in any order."""

    rows: int
    checksum: str | None


def differences(tenancy: Deployment, key: str, copy: str) -> tuple[TableDifference, ...]:
    """Return how the rows of a tenant differ, table by table, from those of its *copy*.

    :raises TenantNotFoundError: if there is no such tenant.
    :raises BackupError: if the tables of one are being changed.
    """
    require(tenancy=(tenancy, TENANCY), key=(key, KEY), copy=(copy, KEY))
    with tenancy.engine.connect() as connection:
        with connection.begin():
            living, restored = store.get(connection, key), store.get(connection, copy)
        return compare(tenancy, connection, living, restored)


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


def sums_of(source: Source) -> dict[str, Sum]:
    """Return those of each table that has rows, with all of its columns."""
    return {each.name: _sum(source, each.name, [column.name for column in each.columns]) for each in source.tables}


def _columns(tenancy: Deployment, tenant: Tenant) -> dict[str, set[str]]:
    with reading(tenancy, tenant) as source:
        return {table.name: {column.name for column in table.columns} for table in source.wholes}


def _sums(tenancy: Deployment, tenant: Tenant, columns: Mapping[str, list[str]]) -> dict[str, Sum]:
    with reading(tenancy, tenant) as source:
        return {name: _sum(source, name, chosen) for name, chosen in columns.items()}


def _sum(source: Source, table: str, columns: list[str]) -> Sum:
    rows = source.query(table, columns)
    found = source.connection.exec_driver_sql(
        "SELECT count(*) AS rows, sum(hashtextextended(compared::text, 0)::numeric)::text AS checksum "  # noqa: S608
        f"FROM ({rows}) AS compared".replace("%", "%%")
    ).one()
    return Sum(found.rows, found.checksum)
