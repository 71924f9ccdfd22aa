"""The isolations under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.placement import by_attribute
from tests.isolation.contract import line
from tests.isolation.contract.application import APPLICATION, KEYS

Urls = Mapping[str, URL]


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
    tenants: Mapping[str, Mapping[str, Any]]
    """The options of `Tenancy.create` for each tenant."""
    lacks: frozenset[line.Line]
    """Lines of the table that do not hold."""
    has_logins: bool = False
    """Whether each tenant has a login of its own."""


def _make_one(urls: Urls, **options: Any) -> Tenancy:
    return Tenancy(urls["main"], **APPLICATION, **options)


def _make_one_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return AsyncTenancy(urls["main"], sync_database=direct["main"], **APPLICATION, **options)


PLACED: dict[str, Any] = {**APPLICATION, "placement": by_attribute("region", {"eu": "eu"}, otherwise="main")}
"""The arguments of a tenancy whose tenants of a region are in a second database."""


def _make_two(urls: Urls, **options: Any) -> Tenancy:
    return Tenancy(dict(urls), **PLACED, **options)


def _make_two_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return AsyncTenancy(dict(urls), sync_database=dict(direct), **PLACED, **options)


EU = {"attributes": {"region": "eu"}}

IN_ONE_DATABASE = frozenset(
    {line.ADVISORY_LOCK, line.LARGE_OBJECT, line.STATISTICS, line.CATALOG, line.ACTIVITY},
)
"""What the tenants of one database have in common, as all of them are served by one role."""

SCHEMA = Kind(
    name="schema",
    make=_make_one,
    make_async=_make_one_async,
    tenants={key: {} for key in KEYS},
    lacks=IN_ONE_DATABASE,
)

SECOND_DATABASE = Kind(
    name="schema, in a second database",
    databases=("main", "eu"),
    make=_make_two,
    make_async=_make_two_async,
    tenants=dict.fromkeys(KEYS, EU),
    lacks=IN_ONE_DATABASE | {line.SHARED_KEY, line.SHARED_JOIN},
)

TWO_DATABASES = Kind(
    name="schema, in two databases",
    databases=("main", "eu"),
    make=_make_two,
    make_async=_make_two_async,
    tenants={"acme": {}, "globex": EU},
    lacks=frozenset({line.ACTIVITY, line.SHARED_KEY, line.SHARED_JOIN}),
)

GROUP = "tk_tenants"
"""The role whose privileges the roles of all tenants have."""
GUARDED: dict[str, Any] = {**APPLICATION, "guard": "role", "guard_group": GROUP}


def _make_guarded(urls: Urls, **options: Any) -> Tenancy:
    return Tenancy(urls["main"], **GUARDED, **options)


def _make_guarded_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return AsyncTenancy(urls["main"], sync_database=direct["main"], **GUARDED, **options)


ROLE = Kind(
    name="schema, guard `role`",
    make=_make_guarded,
    make_async=_make_guarded_async,
    tenants=SCHEMA.tenants,
    lacks=frozenset({line.ADVISORY_LOCK, line.CATALOG}),
)

_LOGGED_IN: dict[str, Any] = {**GUARDED, "guard": "login", "guard_secret": "a secret of the contract's deployments"}


def _make_logged_in(urls: Urls, **options: Any) -> Tenancy:
    return Tenancy(urls["main"], **{**_LOGGED_IN, **options})


def _make_logged_in_async(urls: Urls, direct: Urls, **options: Any) -> AsyncTenancy:
    return AsyncTenancy(urls["main"], sync_database=direct["main"], **{**_LOGGED_IN, **options})


LOGIN = Kind(
    name="schema, guard `login`",
    make=_make_logged_in,
    make_async=_make_logged_in_async,
    tenants=SCHEMA.tenants,
    lacks=frozenset({line.ADVISORY_LOCK, line.CATALOG}),
    has_logins=True,
)

ROW = Kind(
    name="row",
    make=_make_one,
    make_async=_make_one_async,
    tenants={key: {"isolation": "row"} for key in KEYS},
    lacks=(IN_ONE_DATABASE - {line.STATISTICS})
    | {
        line.COPY_IN,
        line.DRIFT,
        line.FAILURE,
        line.SEQUENCE,
        line.TABLE_LOCK,
        line.UPSERT_TEXT,
    },
)

DATABASE = Kind(
    name="database",
    make=_make_one,
    make_async=_make_one_async,
    tenants={key: {"isolation": "database"} for key in KEYS},
    lacks=frozenset({line.ACTIVITY, line.SHARED_KEY, line.SHARED_JOIN}),
)

DATABASE_LOGIN = Kind(
    name="database, guard `login`",
    make=_make_logged_in,
    make_async=_make_logged_in_async,
    tenants=DATABASE.tenants,
    lacks=DATABASE.lacks - {line.ACTIVITY},
    has_logins=True,
)

KINDS = (SCHEMA, ROLE, LOGIN, SECOND_DATABASE, TWO_DATABASES, DATABASE, ROW)
