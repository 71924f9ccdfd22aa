"""A proposal which tables of an application are shared by all tenants, and which each tenant has, from its models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import MetaData, Table, Uuid

from tenantkit.arguments import instance, require
from tenantkit.naming import first_lines

_METADATA = instance(MetaData, "a MetaData of SQLAlchemy")


@dataclass(frozen=True, slots=True)
class Proposal:
    """The proposed side of one table."""

    table: str
    """Its name, with its schema if it has one."""
    side: Literal["shared", "tenant"]
    reason: str


def propose(metadata: MetaData) -> tuple[Proposal, ...]:
    """Return for each table of *metadata* whether it is shared or the tenants', with the reason; shared ones first.

    Proposed as shared are tables of codes, such as countries: others refer to them, they refer to no tenant's table,
    and their keys are not generated. Only someone who knows the rows can decide on the others that refer to nothing.
    """
    require(metadata=(metadata, _METADATA))
    tables = {table.fullname: table for table in metadata.tables.values()}
    referred = {name: _referred(table) - {name} for name, table in tables.items()}
    users = {name: {user for user, found in referred.items() if name in found} for name in tables}
    shared = {name for name, table in tables.items() if users[name] and not _has_generated_key(table)}
    while others := {name for name in shared if not referred[name] <= shared}:
        shared -= others
    proposals = [
        Proposal(name, "shared" if name in shared else "tenant", _explain(name, shared, referred[name], users[name]))
        for name in tables
    ]
    return tuple(sorted(proposals, key=lambda each: (each.side, each.table)))


def _explain(name: str, shared: Collection[str], referred: Collection[str], users: Collection[str]) -> str:
    if name in shared:
        return f"{first_lines(users)} refer to it, and its key is a code: all tenants have the same rows"
    if own := {each for each in referred if each not in shared}:
        return f"it refers to {first_lines(own)}"
    if users:
        return "its key is generated; shared instead, if all tenants have the same rows"
    return "no table refers to it; shared instead, if all tenants have the same rows"


def _referred(table: Table) -> set[str]:
    return {each.target_fullname.rpartition(".")[0] for each in table.foreign_keys}


def _has_generated_key(table: Table) -> bool:
    """Return whether the key of *table* is no code that people have chosen: a number, a UUID, a default, or none."""
    columns = list(table.primary_key.columns)
    return not columns or any(
        column is table.autoincrement_column
        or column.default is not None
        or column.server_default is not None
        or isinstance(column.type, Uuid)
        for column in columns
    )
