"""The isolations under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, create_engine, insert
from sqlalchemy.schema import CreateSchema

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tests.isolation import two_databases
from tests.isolation.contract import line
from tests.isolation.contract.application import APPLICATION, KEYS, Plan, SharedBase

Urls = Mapping[str, URL]


def _nothing(_urls: Urls) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An isolation under test."""

    name: str
    databases: tuple[str, ...] = ("main",)
    """The names of the databases that it needs."""
    make: Callable[..., Tenancy]
    """Makes a tenancy on databases, with the options of `Tenancy`."""
    make_async: Callable[..., AsyncTenancy]
    """Makes one for asyncio on databases, and on those that its synchronous half connects to."""
    prepare: Callable[[Urls], None] = _nothing
    """Prepares databases after the shared tables have been migrated, before tenants are created."""
    tenants: Mapping[str, Mapping[str, Any]]
    """The options of `Tenancy.create` for each tenant."""
    lacks: frozenset[line.Line]
    """Lines of the table that do not hold."""
    is_documented: bool = True
    """Whether the documentation has a column for it."""


def _make_schema(urls: Urls, **options: Any) -> Tenancy:
    return Tenancy(urls["main"], **APPLICATION, **options)


def _make_schema_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return AsyncTenancy(urls["main"], sync_database=direct["main"], **APPLICATION, **options)


def _make_two(urls: Urls, **options: Any) -> Tenancy:
    return two_databases.make_sync(urls["main"], urls["eu"], **APPLICATION, **options)


def _make_two_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return two_databases.make_async(
        urls["main"], urls["eu"], direct=(direct["main"], direct["eu"]), **APPLICATION, **options
    )


def _copy_shared_tables(urls: Urls) -> None:
    engine = create_engine(urls["eu"])
    with engine.begin() as connection:
        connection.execute(CreateSchema("shared"))
        SharedBase.metadata.create_all(connection)
        connection.execute(insert(Plan).values(name="free"))
    engine.dispose()


IN_ONE_DATABASE = frozenset(
    {line.ADVISORY_LOCK, line.LARGE_OBJECT, line.STATISTICS, line.CATALOG, line.ACTIVITY},
)
"""What the tenants of one database have in common, as all of them are served by one role."""

SCHEMA = Kind(
    name="schema",
    make=_make_schema,
    make_async=_make_schema_async,
    tenants={key: {} for key in KEYS},
    lacks=IN_ONE_DATABASE,
)

SECOND_DATABASE = Kind(
    name="schema in a second database",
    databases=("main", "eu"),
    make=_make_two,
    make_async=_make_two_async,
    prepare=_copy_shared_tables,
    tenants={key: {"attributes": two_databases.EU} for key in KEYS},
    lacks=IN_ONE_DATABASE | {line.SHARED_KEY},
    is_documented=False,
)

TWO_DATABASES = Kind(
    name="schemas in two databases",
    databases=("main", "eu"),
    make=_make_two,
    make_async=_make_two_async,
    prepare=_copy_shared_tables,
    tenants={"acme": {}, "globex": {"attributes": two_databases.EU}},
    lacks=frozenset({line.ACTIVITY, line.SHARED_KEY}),
    is_documented=False,
)

KINDS = (SCHEMA, SECOND_DATABASE, TWO_DATABASES)
