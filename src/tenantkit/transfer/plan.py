"""What a restore will do, decided and checked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, text

from tenantkit.databases.base import split_key
from tenantkit.deployment import Deployment
from tenantkit.exceptions import BackupError, InvalidDomainError, TenantExistsError, TenantNotFoundError
from tenantkit.lifecycle.operation import UNFINISHED
from tenantkit.lifecycle.order import Order, check_order
from tenantkit.migrations.environment.targets import graph_of
from tenantkit.migrations.results.heads import format_heads
from tenantkit.postgres.quoting import quote_identifier
from tenantkit.registry import store
from tenantkit.registry.history import Event
from tenantkit.registry.identity import read_identity
from tenantkit.registry.tables import domains, tenants
from tenantkit.status import Status
from tenantkit.tenant import Tenant
from tenantkit.transfer.catalog import qualified
from tenantkit.transfer.file import BackupFile
from tenantkit.transfer.results import MissingRows, RestorePlan

if TYPE_CHECKING:
    from tenantkit.transfer.manifest import Manifest, References

SUFFIX = "-restored"
"""The end of the key of a copy beside a tenant that lives."""
_IS_VALUE_OF_ANOTHER = text(
    "SELECT EXISTS (SELECT FROM tenantkit.tenants WHERE coalesce(row_value, id::text) = :value AND key <> :key)"
)
_TYPES = text(
    "SELECT attname::text, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
    "WHERE attrelid = to_regclass(:table) AND attname = ANY(:columns)"
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the order of the tenant that it creates."""

    plan: RestorePlan
    order: Order
    living: Tenant | None
    """The tenant beside which the new one is restored."""
    original: Tenant | None
    """The tenant that was backed up, of which the new one is a copy; another one may have its key now."""


def plan(
    tenancy: Deployment,
    connection: Connection,
    file: BackupFile,
    *,
    key: str | None,
    isolation: str | None,
    database: str | None,
    with_domains: bool,
    suspended: bool,
) -> Planned:
    """Return the plan of a restore.

    :raises BackupError: if the code cannot restore the file.
    :raises TenantExistsError: if the key is taken.
    """
    manifest = file.manifest
    to_revision = require_revisions(tenancy, manifest, file.subject)
    original = _find_original(connection, manifest)
    living = (original or find_complete(connection, manifest.key)) if key is None else None
    chosen = key or (manifest.key if living is None else living.key + SUFFIX)
    if find_complete(connection, chosen) is not None:
        raise TenantExistsError(chosen)
    wanted = manifest.tenant["domains"] if with_domains else ()
    free, taken = _divide_domains(tenancy, connection, chosen, wanted)
    order = check_order(
        tenancy,
        chosen,
        name=manifest.tenant["name"],
        domains=free,
        attributes=manifest.tenant["attributes"],
        database=database if database is not None else known_database(tenancy, manifest.tenant["database"]),
        isolation=isolation or manifest.tenant["isolation"],
        row_value=_free_row_value(tenancy, connection, chosen, manifest.tenant["row_value"]),
        policy=tenancy.placement_policy,
        reserved=tenancy.reserved_keys,
    )
    status = manifest.tenant["status"]
    if suspended or living is not None or status in {Status.SUSPENDED, Status.DROP_SCHEDULED}:
        order = replace(order, becomes=Status.SUSPENDED)
    elif status == Status.READ_ONLY:
        order = replace(order, becomes=Status.READ_ONLY)
    origin = {"file": file.path.name, "key": manifest.key, "backed_up_at": manifest.created_at}
    order = replace(order, origin=(Event.RESTORED, origin))
    return Planned(
        RestorePlan(
            key=chosen,
            is_beside=living is not None,
            living=None if living is None else living.key,
            isolation=str(order.isolation),
            database=order.wanted,
            domains=tuple(order.domains),
            domains_left_out=tuple(taken),
            from_revision=manifest.revision,
            to_revision=to_revision,
            rows=file.contents.rows,
            missing=tuple(_find_missing(connection, file.contents.references)),
        ),
        order,
        living,
        original,
    )


def require_shared_rows(file: BackupFile, planned: RestorePlan) -> None:
    """Raise if shared rows are missing.

    :raises BackupError: if so.
    """
    if planned.missing:
        said = "; ".join(
            f"{each.shared_table} has no {', '.join('/'.join(value) for value in each.values[:5])}"
            f"{f' and {len(each.values) - 5} more' if len(each.values) > 5 else ''}, "  # noqa: PLR2004
            f"to which {each.table}.{'/'.join(each.columns)} refers"
            for each in planned.missing
        )
        raise BackupError(
            file.subject, f"shared rows are missing: {said}", "Nothing was changed. Insert these rows first."
        )


def require_revisions(tenancy: Deployment, manifest: Manifest, subject: str) -> str | None:
    """Return the newest revision of the code, to which the new tenant is migrated.

    :raises BackupError: if the code cannot make the tables at the revision of the rows.
    """
    heads = manifest.heads
    if tenancy.migrations is None:
        if heads is not None:
            raise BackupError(subject, "it has a revision, and this tenancy has no migrations", "Pass migrations=.")
        return None
    if heads is None:
        raise BackupError(
            subject,
            "its tables have no revision, and this tenancy has migrations",
            "Restore it with the code that made it, back it up again after 'tenantkit stamp', and restore that.",
        )
    graph = graph_of(tenancy, "tenant")
    if replaced := [head for head in heads if head in graph.baselines]:
        [head, *_] = replaced
        raise BackupError(
            subject,
            f"it is at the revision {head}, which the baseline {graph.baselines[head]} has replaced",
            f"Nothing was changed. Use code that still has {head}, and migrate it.",
        )
    if unknown := [head for head in heads if not graph.knows(head)]:
        raise BackupError(
            subject,
            f"it is at the revision {', '.join(unknown)}, which no file in {graph.folder} has",
            "Nothing was changed. Update the code.",
        )
    return format_heads(graph.heads()) or None


def _find_original(connection: Connection, manifest: Manifest) -> Tenant | None:
    """Return the tenant that was backed up, under whatever key. Another one may have its key now."""
    record = manifest.tenant
    if record["registry"] != read_identity(connection):
        return None
    key = connection.execute(select(tenants.c.key).where(tenants.c.id == record["id"])).scalar()
    return None if key is None else find_complete(connection, key)


def find_complete(connection: Connection, key: str) -> Tenant | None:
    """Return the tenant *key* if it was created completely, and is not being dropped."""
    try:
        found = store.get(connection, key)
    except TenantNotFoundError:
        return None
    return None if found.status in UNFINISHED else found


def known_database(tenancy: Deployment, key: str) -> str | None:
    """Return the named database of the placement in the database *key*, if there is one of that name here."""
    name, _ = split_key(key)
    return name if name in tenancy.databases.keys else None


def _divide_domains(tenancy: Deployment, connection: Connection, key: str, wanted: Any) -> tuple[list[str], list[str]]:
    """Return the domains that the new tenant *key* can have, and the others."""
    owners = select(domains.c.domain).join(tenants, tenants.c.id == domains.c.tenant_id)
    query = owners.where(domains.c.domain.in_(list(wanted)), tenants.c.key != key)
    taken = set(connection.execute(query).scalars())
    for each in wanted:
        try:
            tenancy.free_domain(each)
        except InvalidDomainError:
            taken.add(each)
    return [each for each in wanted if each not in taken], [each for each in wanted if each in taken]


def _free_row_value(tenancy: Deployment, connection: Connection, key: str, value: str | None) -> str | None:
    """Return the value of the tenant column if a new tenant can have it."""
    if value is None or tenancy.isolations.row_column.name is None:
        return None
    is_taken = connection.execute(_IS_VALUE_OF_ANOTHER, {"value": value, "key": key}).scalar_one()
    return None if is_taken else value


def _find_missing(connection: Connection, references: tuple[References, ...]) -> Iterator[MissingRows]:
    """Yield the rows of shared tables that do not exist."""
    for each in references:
        table = qualified(*each.to)
        found = connection.execute(_TYPES, {"table": table, "columns": [*each.to_columns]})
        types = {row.attname: row.type for row in found}
        if each.values is None or not each.values or types.keys() != {*each.to_columns}:
            continue
        names = [f"c{number}" for number in range(len(each.to_columns))]
        lists = ", ".join(f"CAST(:{name} AS text[])" for name in names)
        equal = " AND ".join(
            f"theirs.{quote_identifier(column)} = CAST(ours.{name} AS {types[column]})"
            for name, column in zip(names, each.to_columns, strict=True)
        )
        query = (
            f"SELECT {', '.join(f'ours.{name}' for name in names)} FROM unnest({lists}) AS ours ({', '.join(names)}) "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT FROM {table} AS theirs WHERE {equal}) ORDER BY 1"
        )
        values = dict(zip(names, map(list, zip(*each.values, strict=True)), strict=True))
        if missing := [tuple(row) for row in connection.execute(text(query), values)]:
            yield MissingRows(
                table=each.table, columns=each.columns, shared_table=".".join(each.to), values=tuple(missing)
            )
