"""Public functions refuse wrong arguments at once, with the parameter's name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from math import inf, nan
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, get_args

import flask
import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session
from werkzeug.local import LocalProxy

import tenantkit
from tenantkit import (
    ConfigurationError,
    InvalidDomainError,
    InvalidTenantKeyError,
    Tenancy,
    adoption,
    asgi,
    baseline,
    context,
    drift,
    lifecycle,
    lint,
    migrations,
    placement,
    resolvers,
    spares,
    testing,
    transfer,
    usage,
    wsgi,
)
from tenantkit import flask as flask_edge
from tenantkit.asyncio import AsyncTenancy
from tenantkit.embedded import embedded_database
from tenantkit.isolation.binding import RawSQL
from tenantkit.migrations import Options
from tenantkit.migrations.options import KINDS, MigrateOptions
from tenantkit.resolvers.jwt import JWTClaim
from tenantkit.web import session_cookies
from tenantkit.web.admission import SharedPaths
from tests.migrations.environments import Environment
from tests.support.catalog import registered
from tests.support.models import TenantBase

pytestmark = pytest.mark.each_value

REFUSED = (TypeError, ConfigurationError, InvalidTenantKeyError, InvalidDomainError)
URL = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"  # no server answers: arguments are refused before a connection


async def asynchronous(*_: Any) -> None: ...


def generator(*_: Any) -> Iterator[None]:
    yield


class AsyncCallable:
    async def __call__(self, *_: Any) -> None: ...


Wrong = tuple[Any, ...]
NOT_TEXT: Wrong = (5, b"acme", True, 1.5, ("acme",))
NOT_NAME: Wrong = (*NOT_TEXT, "", " ")
NOT_STORABLE: Wrong = (*NOT_TEXT, "a\0b", "a\ud800")
NOT_ROW_VALUE: Wrong = (True, 1.5, b"a", ["a"], "without row_column=")
NOT_IDENTIFIER: Wrong = (*NOT_STORABLE, "", " ", "x" * 64, "\u00e9" * 32)
"""PostgreSQL would cut the long ones: their UTF-8 has 64 bytes."""
NOT_TEXTS: Wrong = ("acme", 5, b"ab", [5], ["acme", None], {"acme": 1}, True, iter(["acme"]))
NOT_FLAG: Wrong = ("no", "false", "", 0, 1, None, [])
NOT_NUMBER: Wrong = ("5", True, [1], nan, 10**400)
NOT_WHOLE: Wrong = ("5", True, [1], 1.5, 2**63, -(10**30))
NOT_FUNCTION: Wrong = ("seed", 5, [len], asynchronous, AsyncCallable(), generator)
HOLDS_ITSELF: dict[str, Any] = {"a": []}
HOLDS_ITSELF["a"].append(HOLDS_ITSELF)
NOT_JSON: Wrong = (
    HOLDS_ITSELF,
    "plan",
    ["plan"],
    5,
    {1: 2},
    {"a": {1: 2}},
    {"a": object()},
    {"a": [nan]},
    {"a": inf},
    {"a": "\0"},
    {"a": {1}},
)
NOT_TENANT: Wrong = ("acme", 5, 0, "", [], {"key": "acme"}, SimpleNamespace(key="acme", id=1))
NOT_TENANCY: Wrong = (None, "acme", Tenancy, object(), AsyncTenancy)
NOT_PATH: Wrong = (5, "", b"migrations", ["migrations"], "a\0b")
NOT_CHOICE: Wrong = ("expnd", "Expand", True, 5, [], "")
NOT_METADATA: Wrong = (TenantBase, "tenant", Table, {}, [TenantBase.metadata])
NOT_RESOLVER: Wrong = (*NOT_FUNCTION, "/t", resolvers.Domain, [resolvers.Domain()])
NOT_PHASE = NOT_CHOICE
A_TENANT = object()
"""A marker for a `Tenant` in place of a key."""
NOT_KEY: Wrong = (5, None, True, A_TENANT, b"acme", ["acme"], {"acme"}, LocalProxy(lambda: "globex"))
"""Where a key is wanted: what people have at hand."""

OPTIONS: dict[str, Wrong] = {
    "tenants": NOT_TEXTS,
    "exclude": NOT_TEXTS,
    "where": NOT_JSON,
    "order": ("keys", "Newest", 1, True),
    "canary": ("acme", -1, 0, True, 1.5, [5], []),
    "waves": ("5%", "5%,100%", 5, ["5%"], [True, 100], [0, 100], [-5, 100], [5, 101], [nan, 100]),
    "pause": (*NOT_NUMBER, -1, inf),
    "check": NOT_FUNCTION,
    "max_failures": (True, 1.5, -1, "two", "-1", "101%", [1]),
    "on_error": ("Stop", "abort", True, 1),
    "maintenance": ("no", "false", 0, 1, []),
    "jobs": (*NOT_WHOLE, -1),
    "max_connections": (*NOT_WHOLE, -1, 0),
    "engine": ("Auto", "copy", True, 1),
    "lock_timeout": (2, 2.5, True, b"2s", "soon"),
    "statement_timeout": (2, True, "soon"),
    "phase": NOT_PHASE,
    "progress": ("yes", True, print, 5),
}
NOTICE: dict[str, Wrong] = {
    "message": (*NOT_STORABLE, "", " ", "x" * 501, "two\nlines", "\x1b[2J", "\u2028"),
    "until": (
        *("tomorrow", 60, True, datetime(2000, 1, 1, tzinfo=UTC), datetime(2300, 1, 1), date(2300, 1, 1)),  # noqa: DTZ001
        *(timedelta(0), timedelta(hours=-1), timedelta.max, datetime.max.replace(tzinfo=UTC)),
    ),
}
TENANCY: dict[str, dict[str, Wrong]] = {
    "install": {},
    "get": {"key": NOT_KEY},
    "get_by_domain": {"domain": (5, None, b"a", ["a"])},
    "list": {
        "status": ("actve", "Active", "", 5, True, ["active", "gone"], [5], {"active": 1}),
        "attributes": NOT_JSON,
        "search": NOT_STORABLE,
        "after": (*NOT_STORABLE, A_TENANT),
        "limit": (*NOT_WHOLE, -1),
    },
    "update": {"key": NOT_KEY, "name": (*NOT_STORABLE, "", " "), "attributes": NOT_JSON},
    "set_row_value": {"key": NOT_KEY, "row_value": (None, *NOT_ROW_VALUE)},
    "add_domain": {"key": NOT_KEY, "domain": (5, None, ["a"]), "primary": NOT_FLAG},
    "remove_domain": {"key": NOT_KEY, "domain": (5, None, ["a"])},
    "set_primary_domain": {"key": NOT_KEY, "domain": (5, None, ["a"])},
    "at_revision": {"tenant": (5, None, 0, [], SimpleNamespace(id=1, schema="t_beta")), "revision": (None, *NOT_NAME)},
    "suspend": {"key": NOT_KEY, **NOTICE, "read_only": NOT_FLAG},
    "resume": {"key": NOT_KEY},
    "start_maintenance": {"key": NOT_KEY, **NOTICE},
    "session": {"tenant": (5, 0, False, [], {}, SimpleNamespace(id=1)), "any_status": NOT_FLAG},
    "unscoped_session": {"reason": (None, *NOT_NAME, *NOT_STORABLE)},
    "binding": {"tenant": (5, 0, False, [], {}, SimpleNamespace(id=1)), "any_status": NOT_FLAG},
    "create": {
        "key": NOT_KEY,
        "name": (*NOT_STORABLE, "", " "),
        "domains": ("acme.example.com", 5, [5], {"a.example.com"}, {"a": 1}, iter(["a"])),
        "attributes": NOT_JSON,
        "database": (5, True, "", "asia", ("main",)),
        "isolation": ("rows", "Row", "", 5, True, ["row"]),
        "row_value": NOT_ROW_VALUE,
        "seed": NOT_FUNCTION,
    },
    "drop": {
        "key": NOT_KEY,
        "after": (30, "30d", True, timedelta(0), timedelta(days=-1), timedelta(days=36_526), timedelta.max),
    },
    "diagnose": {},
    "repair": {},
    "close": {},
    "shared_session": {},
}
INIT: dict[str, Wrong] = {
    "database": (
        None,
        5,
        b"postgresql://",
        SimpleNamespace(),
        Tenancy,
        {},
        {"eu": URL},
        {"main": 5},
        {"main": URL, 5: URL},
    ),
    "tenant": (None, *NOT_METADATA),
    "shared": NOT_METADATA,
    "placeholder": NOT_IDENTIFIER,
    "migrations": NOT_PATH,
    "placement": (*NOT_FUNCTION, "eu"),
    "seed": NOT_FUNCTION,
    "cross_database_writes": ("both", "Separate", "", None, True, ["separate"]),
    "raw_sql": ("forbidden", "Forbid", "", None, True, 1, ["forbid"]),
    "extra_schemas": (
        *("public", None, 5, {"public"}, iter(["public"]), ["public, extensions"]),
        *([each] for each in NOT_IDENTIFIER),
    ),
    "schema_prefix": (None, 5, True, b"t_", "T_", "pg_", "t" * 60),
    "reserved_keys": ("www", None, 5, [5], ["WWW"], [""], iter(["www"])),
    "cache_ttl": (*NOT_NUMBER, None, -1),
    "cache_size": (*NOT_WHOLE, None, -1, 0),
    "engine_budget": (*NOT_WHOLE, None, -1, 0),
    "listen": NOT_FLAG,
    "engine_options": ("echo", 5, [("echo", True)]),
    "application": (*NOT_NAME, *NOT_STORABLE),
    "isolation": (None, "rows", "Row", "", 5, True, ["row"]),
    "rows_schema": (None, *NOT_IDENTIFIER),
    "row_column": NOT_IDENTIFIER,
    "guard": ("Role", "login", "", None, True, ["role"]),
    "guard_group": (*NOT_IDENTIFIER, "notes_tenants"),  # without guard="role"
    "guard_secret": (5, b"x" * 40, {"x" * 40}, [5], "x" * 40, ["x" * 40]),  # without guard="login"
    "limits": (5, "1s", [("work_mem", "1MB")], {"work_mem": None}, {"role": "postgres"}, {5: "1s"}),
    "unscoped_url": (5, True, ["a"], "", "mysql://a@b/c", "no url"),
    "database_prefix": NOT_IDENTIFIER,
    "grant_to": (
        *(None, iter(["app"]), ["app", ""]),
        *(each for each in NOT_IDENTIFIER if not isinstance(each, tuple)),
        *([each] for each in NOT_IDENTIFIER),
    ),
    "reserved_domains": ("example.com", None, 5, [5], [""], ["a b"], iter(["example.com"])),
    "session_class": (None, "AppSession", 5, dict, Session, AsyncSession),
    "shared_session_class": (None, "AppSession", 5, dict, tenantkit.TenantSession),
    "session_options": (
        *("autoflush", 5, [("autoflush", True)]),
        *({"bind": None}, {"misspelt": 1}, {"": 1}, {"autocommit": True}, {"join_transaction_mode": "x"}, {"info": 5}),
    ),
}
MIGRATIONS: dict[str, dict[str, Wrong]] = {
    "migrate": {"tenancy": NOT_TENANCY, "target": (None, ["acme"], *NOT_NAME), **OPTIONS},
    "downgrade": {"tenancy": NOT_TENANCY, "target": (None, -1, *NOT_NAME), **OPTIONS},
    "stamp": {"tenancy": NOT_TENANCY, "target": (None, *NOT_NAME), "purge": NOT_FLAG, **OPTIONS},
    "downgrade_run": {"tenancy": NOT_TENANCY, "run_id": (*NOT_WHOLE, None), **OPTIONS},
    "preview": {
        "tenancy": NOT_TENANCY,
        "target": (None, *NOT_NAME),
        "command": ("Upgrade", "stamp", None, True),
        "scripts": NOT_FLAG,
        **OPTIONS,
    },
    "upgrade_shared": {
        "tenancy": NOT_TENANCY,
        "target": (None, *NOT_NAME),
        "phase": NOT_PHASE,
        "limits": ("2s", None, 2),
    },
    "downgrade_shared": {"tenancy": NOT_TENANCY, "target": (None, *NOT_NAME)},
    "stamp_shared": {"tenancy": NOT_TENANCY, "target": (None, *NOT_NAME), "purge": NOT_FLAG},
    "status": {"tenancy": NOT_TENANCY, "phase": NOT_PHASE},
    "databases": {"tenancy": NOT_TENANCY},
    "list_runs": {"tenancy": NOT_TENANCY, "limit": (*NOT_WHOLE, -1)},
    "get_run": {"tenancy": NOT_TENANCY, "run_id": (*NOT_WHOLE, None)},
    "unfinished": {"tenancy": NOT_TENANCY, "run_id": (*NOT_WHOLE, None)},
    "failed": {"tenancy": NOT_TENANCY},
    "init": {"folder": (None, *NOT_PATH)},
    "revision": {
        "tenancy": NOT_TENANCY,
        "message": (None, *NOT_NAME),
        "shared": NOT_FLAG,
        "autogenerate": NOT_FLAG,
        "phase": NOT_PHASE,
    },
}
RESTORE: dict[str, Wrong] = {
    "tenancy": NOT_TENANCY,
    "path": (None, *NOT_PATH),
    "key": tuple(each for each in NOT_KEY if each is not None),
    "isolation": ("rows", "Row", "", 5, True, ["row"]),
    "database": (5, True, "", ("main",)),
    "domains": NOT_FLAG,
}
CLONE: dict[str, Wrong] = {
    "tenancy": NOT_TENANCY,
    "key": NOT_KEY,
    "as_": NOT_KEY,
    "name": tuple(each for each in (*NOT_STORABLE, "", " ")),
    "attributes": NOT_JSON,
    "isolation": ("rows", "Row", "", 5, True, ["row"]),
    "database": (5, True, "", ("main",)),
    "transform": (5, "app:ANONYMOUS", dict),
}
OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Wrong]]] = {
    "tenant_context": (lambda **options: context.tenant_context(**options).__enter__(), {"tenant": NOT_TENANT}),
    "tenant_text": (
        tenantkit.tenant_text,
        {"sql": (None, *NOT_TEXT, "", "SET search_path TO t_beta"), "schemas": (None, "shared", 5, {"shared"}, [5], [""])},
    ),
    "copy_context_for": (context.copy_context_for, {"tenant": NOT_TENANT}),
    "session_cookies.bind": (session_cookies.bind, {"session": (None, "s", 5), "tenant": (None, *NOT_TENANT)}),
    "session_cookies.is_bound": (session_cookies.is_bound, {"session": (None, "s", 5), "tenant": (None, *NOT_TENANT)}),
    "lint": (
        lint.lint,
        {
            "tenancy": NOT_TENANCY,
            "revisions": NOT_TEXTS,
            "since": NOT_TEXTS,
            "ignore": NOT_TEXTS,
            "enable": NOT_TEXTS,
        },
    ),
    "check": (drift.check, {"tenancy": NOT_TENANCY, "tenants": NOT_TEXTS, "models": NOT_FLAG, "scripts": NOT_FLAG}),
    "lifecycle.rename": (
        lifecycle.rename,
        {
            "tenancy": NOT_TENANCY,
            "key": NOT_KEY,
            "new": (None, *NOT_TEXT, "", "Globex", "x" * 49, "public"),
            "schema": NOT_FLAG,
            "dry_run": NOT_FLAG,
        },
    ),
    "lifecycle.drain": (
        lifecycle.drain,
        {"tenancy": NOT_TENANCY, "key": NOT_KEY, "seconds": (None, *NOT_NUMBER, -1)},
    ),
    "lifecycle.cancel_drop": (lifecycle.cancel_drop, {"tenancy": NOT_TENANCY, "key": NOT_KEY}),
    "lifecycle.drop_due": (lifecycle.drop_due, {"tenancy": NOT_TENANCY, "before": NOT_FUNCTION, "dry_run": NOT_FLAG}),
    "lifecycle.preview_drop": (lifecycle.preview_drop, {"tenancy": NOT_TENANCY, "key": NOT_KEY}),
    "usage.describe": (usage.describe, {"tenancy": NOT_TENANCY, "key": NOT_KEY, "count": NOT_FLAG}),
    "lifecycle.swap": (
        lifecycle.swap,
        {
            "tenancy": NOT_TENANCY,
            "key": NOT_KEY,
            "copy": NOT_KEY,
            "back": NOT_FLAG,
            "any_tenant": NOT_FLAG,
            "patience": (*NOT_NUMBER, -1),
            "dry_run": NOT_FLAG,
        },
    ),
    "transfer.move": (
        transfer.move,
        {
            "tenancy": NOT_TENANCY,
            "key": NOT_KEY,
            "database": NOT_NAME,
            "isolation": ("rows", "", 5, True),
            "back": NOT_FLAG,
            "stop_writes": NOT_FLAG,
            "patience": (*NOT_NUMBER, -1),
            "max_pause": (*NOT_NUMBER, -1),
            "dry_run": NOT_FLAG,
            "progress": NOT_FUNCTION,
        },
    ),
    "transfer.finish_move": (transfer.finish_move, {"tenancy": NOT_TENANCY, "key": NOT_KEY}),
    "transfer.differences": (
        transfer.differences,
        {"tenancy": NOT_TENANCY, "key": NOT_KEY, "copy": NOT_KEY},
    ),
    "transfer.backup": (
        transfer.backup,
        {
            "tenancy": NOT_TENANCY,
            "key": NOT_KEY,
            "path": (None, *NOT_PATH),
            "compression": ("gzip", "Zstd", "", True, 5),
            "progress": NOT_FUNCTION,
        },
    ),
    "transfer.backup_all": (
        transfer.backup_all,
        {
            "tenancy": NOT_TENANCY,
            "folder": (None, *NOT_PATH),
            "tenants": NOT_TEXTS,
            "compression": ("gzip", "", True),
            "progress": NOT_FUNCTION,
        },
    ),
    "transfer.export": (
        transfer.export,
        {
            "tenancy": NOT_TENANCY,
            "key": NOT_KEY,
            "folder": (None, *NOT_PATH),
            "format": ("json", "CSV", "", True, 5, None),
            "progress": NOT_FUNCTION,
        },
    ),
    "transfer.verify": (transfer.verify, {"path": (None, *NOT_PATH)}),
    "transfer.restore": (
        transfer.restore,
        {**RESTORE, "suspended": NOT_FLAG, "progress": NOT_FUNCTION},
    ),
    "transfer.preview": (transfer.preview, RESTORE),
    "transfer.clone": (
        transfer.clone,
        {**CLONE, "suspended": NOT_FLAG, "progress": NOT_FUNCTION},
    ),
    "transfer.preview_clone": (transfer.preview_clone, CLONE),
    "adoption.adopt": (
        adoption.adopt,
        {
            "tenancy": NOT_TENANCY,
            "schemas": (None, *NOT_NAME),
            "key_from": (*NOT_NAME, "("),
            "database": (5, True, "", "asia", ("main",)),
            "revision": NOT_NAME,
            "allow_differences": NOT_FLAG,
            "dry_run": NOT_FLAG,
        },
    ),
    "adoption.adopt_tables": (
        adoption.adopt_tables,
        {
            "tenancy": NOT_TENANCY,
            "schema": (None, *NOT_NAME),
            "key": NOT_KEY,
            "revision": NOT_NAME,
            "leave_others": NOT_FLAG,
            "allow_differences": NOT_FLAG,
            "patience": (None, *NOT_NUMBER, -1),
            "dry_run": NOT_FLAG,
        },
    ),
    "adoption.propose": (adoption.propose, {"metadata": (None, 5, "shop:Base", MetaData)}),
    "adoption.release": (
        adoption.release,
        {"tenancy": NOT_TENANCY, "key": NOT_KEY, "to": NOT_NAME, "patience": (None, *NOT_NUMBER, -1)},
    ),
    "baseline.squash": (
        baseline.squash,
        {
            "tenancy": NOT_TENANCY,
            "to": (None, *NOT_NAME),
            "from_models": NOT_FLAG,
            "from_tenant": NOT_NAME,
            "like": NOT_NAME,
            "allow_losses": NOT_FLAG,
            "dry_run": NOT_FLAG,
        },
    ),
    "keep_spares": (spares.keep_spares, {"tenancy": NOT_TENANCY, "keep": (*NOT_WHOLE, -1)}),
    "SpareKeeper": (spares.SpareKeeper, {"tenancy": NOT_TENANCY, "keep": NOT_WHOLE, "interval": (*NOT_NUMBER, -1)}),
    "embedded_database": (embedded_database, {"folder": (None, *NOT_PATH), "name": (None, *NOT_IDENTIFIER), "login": NOT_IDENTIFIER}),
    "testing.assert_isolated": (
        testing.assert_isolated,
        {
            "tenancy": NOT_TENANCY,
            "app": (5, "app:app"),
            "tenants": NOT_TEXTS,
            "base_url": (None, *NOT_FUNCTION),
            "login": NOT_FUNCTION,
            "factories": (5, "a", [TenantBase]),
            "requests": (None, 5, "GET /", ["GET /"]),
            "parameters": (5, "a", ["slug"]),
            "skip": (None, *NOT_TEXTS),
        },
    ),
    "testing.plant": (
        testing.plant,
        {"tenancy": NOT_TENANCY, "tenants": (None, 5, "acme", ["acme", "beta"]), "factories": (5, [TenantBase])},
    ),
    "testing.tripwire": (
        testing.tripwire,
        {"canaries": (None, {}), "served": (None, *NOT_FUNCTION), "on_leak": (None, *NOT_FUNCTION)},
    ),
    "testing.rolled_back": (testing.rolled_back, {"tenancy": NOT_TENANCY, "tenant": (None, 5, 0, [])}),
    "asgi.TenantMiddleware": (
        asgi.TenantMiddleware,
        {
            "app": (None, "app"),
            "tenancy": NOT_TENANCY,
            "resolver": (None, *NOT_RESOLVER),
            "shared": (None, 5, "/login", [5], [None]),
            "refuse": (None, *NOT_FUNCTION),
        },
    ),
    "wsgi.TenantMiddleware": (
        wsgi.TenantMiddleware,
        {
            "app": (None, "app"),
            "tenancy": NOT_TENANCY,
            "resolver": (None, *NOT_RESOLVER),
            "shared": (None, 5, "/login", [5]),
            "load_session": NOT_FUNCTION,
            "refuse": (None, *NOT_FUNCTION),
        },
    ),
    "flask.TenantKit.init_app": (
        flask_edge.TenantKit().init_app,
        {
            "app": (None, "app", flask.Flask),
            "tenancy": NOT_TENANCY,
            "resolver": (None, *NOT_RESOLVER),
            "shared": (None, 5, "/login", [5]),
        },
    ),
    "flask.shared_route": (flask_edge.shared_route, {"view": (None, "/login")}),
    "admission.SharedPaths": (SharedPaths, {"patterns": (None, 5, "/login", [5])}),
    "Subdomain": (lambda *, bases: resolvers.Subdomain(*bases), {"bases": ([], [5], [["example.com"]], ["Example.com"])}),
    "PathPrefix": (resolvers.PathPrefix, {"prefix": (None, *NOT_TEXT, "t", "/t/")}),
    "Header": (resolvers.Header, {"name": (None, *NOT_NAME, "X Tenant", "X-Tenant:")}),
    "Cookie": (resolvers.Cookie, {"name": (None, *NOT_NAME, "a=b", "a;")}),
    "SessionValue": (resolvers.SessionValue, {"name": (None, *NOT_NAME)}),
    "Domain": (resolvers.Domain, {}),
    "fill_first": (placement.fill_first, {"limit": (None, *NOT_WHOLE, 0), "databases": NOT_TEXTS}),
    "by_attribute": (
        placement.by_attribute,
        {"name": (None, *NOT_NAME), "databases": (None, "eu", [("eu", "eu")], {"eu": 5}), "otherwise": (5, "", asynchronous)},
    ),
    "first_of": (lambda *, resolvers_: resolvers.first_of(*resolvers_), {"resolvers_": ([], *([each] for each in NOT_RESOLVER))}),
    "JWTClaim": (
        JWTClaim,
        {
            "claim": (None, *NOT_NAME),
            "key": (None, "", b""),  # otherwise every value that PyJWT takes
            "algorithms": (None, 5, "RS256", [], [5], ["none"], ["HS256", "RS256"]),
            "audience": (5, [5], "", ["a", ""]),
            "issuer": (5, [5], "", ["a", ""]),
            "leeway": (*NOT_NUMBER, -1),
            "token": NOT_FUNCTION,
        },
    ),
}  # fmt: skip
VALUES = {
    *("Event", "Isolation", "Placement", "Status", "Tenant", "TenantSession"),
    *("ByDomain", "ByKey", "RequestView", "Resolver", "Target"),
}
"""Public names without parameters to check: results, and types of arguments."""


@pytest.fixture
def good(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Valid arguments, by the names of their parameters."""
    return {
        "key": "acme",
        "sql": "SELECT 1",
        "domain": "acme.example.com",
        "row_value": 1,
        "tenant": "acme",
        "revision": "t1",
        "message": "what",
        "path": tmp_path / "absent.tenant",
        "target": "head",
        "run_id": 1,
        "seconds": 1,
        "folder": tmp_path / "new",
        "app": lambda *_: None,
        "resolver": resolvers.Domain(),
        "session": {},
        "claim": "tenant",
        "algorithms": ["HS256"],
        "waves": [5, 100],
        "limit": 5,
        "keep": 1,
        "name": "region",
        "databases": {"eu": "eu"},
        "tenants": [],
        "canaries": testing.Canaries(),
        "new": "globex",
        "schemas": "org_%",
        "schema": "public",
    }


def parameters(function: Callable[..., Any]) -> Iterator[str]:
    """Return the names of a function's parameters, including options that are passed through."""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            yield name
        elif "Options" in str(parameter.annotation):
            yield from Options.__annotations__


_NAMED = {"bases": "base", "resolvers_": "resolver", "patterns": "shared"}
"""Names in errors for arguments without a name for the caller."""


def refuse(function: Callable[..., Any], good: dict[str, Any], wrong: dict[str, Wrong]) -> None:
    """Assert that each wrong value is refused, by an error that names the parameter."""
    fine = {name: good[name] for name in {*wrong} & {*good} if _is_needed(function, name)}
    taken = []
    for name, values in wrong.items():
        for value in values:
            shown = repr(value)
            try:
                function(**{**fine, name: value})
            except REFUSED as error:
                if _NAMED.get(name, name) not in str(error).lower() and shown not in str(error):
                    taken.append(f"{name}={shown}: {error!r}")
            except Exception as error:  # noqa: BLE001 - reported with the others
                taken.append(f"{name}={shown}: {error!r}")
            else:
                taken.append(f"{name}={shown} is taken")
    assert not taken, "\n".join(taken)


def _is_needed(function: Callable[..., Any], name: str) -> bool:
    found = inspect.signature(function).parameters.get(name)
    return found is None or found.default is inspect.Parameter.empty


def public(owner: Any) -> set[str]:
    """Return the public names with parameters."""
    names = getattr(owner, "__all__", None) or [name for name in dir(owner) if not name.startswith("_")]
    return {
        name
        for name in names
        if name not in VALUES and callable(getattr(owner, name)) and not _is_value(getattr(owner, name))
    }


def _is_value(item: Any) -> bool:
    return isinstance(item, type) and (
        issubclass(item, Exception)
        or hasattr(item, "__dataclass_fields__")
        or hasattr(item, "_is_protocol")
        or item is Options
    )


def test_every_public_parameter_is_in_these_tables() -> None:
    inside = {
        "bind",
        "install_reachable",
        "look_up",
        "look_up_again",
        "known",
        "renewed",
        "forgetting",
        "free_domain",
        "check_tables_once",
        "unscoped",
        "new_row_value",
    }
    assert public(Tenancy) - inside == TENANCY.keys()
    assert public(AsyncTenancy) - inside <= TENANCY.keys() | {"run"}
    assert {f"lifecycle.{name}" for name in public(lifecycle)} == {
        name for name in OTHERS if name.startswith("lifecycle.")
    }
    assert public(usage) == {"describe"}
    assert public(adoption) == {"adopt", "adopt_tables", "propose", "release"}
    assert public(baseline) == {"squash"}
    for name, wrong in TENANCY.items():
        assert {*parameters(getattr(Tenancy, name))} - {"self"} == wrong.keys(), name
    assert {*parameters(Tenancy)} == INIT.keys()
    assert {*parameters(AsyncTenancy)} - {"sync_database"} <= INIT.keys()
    assert public(migrations) - {"Position", "Progress"} == MIGRATIONS.keys() | {"run_environment"}
    for name, wrong in MIGRATIONS.items():
        assert {*parameters(getattr(migrations, name))} == wrong.keys(), name
    assert public(resolvers) - {"resolve"} <= OTHERS.keys()
    assert public(placement) - {"PlacementPolicy"} <= OTHERS.keys()
    assert public(tenantkit) - OTHERS.keys() == {"Tenancy", "current_tenant"}
    assert public(lint) == {"lint"}
    assert public(testing) - {"Client", "async_rolled_back"} == {
        name.removeprefix("testing.") for name in OTHERS if name.startswith("testing.")
    }
    assert {f"transfer.{name}" for name in public(transfer)} == {
        name for name in OTHERS if name.startswith("transfer.")
    }
    assert public(drift) - {"Change", "Key", "Kind"} == {"check"}
    assert public(spares) <= OTHERS.keys()
    for name, (function, wrong) in OTHERS.items():
        if not name.startswith(("Subdomain", "first_of", "tenant_context")):
            assert {*parameters(function)} == wrong.keys(), name


@pytest.mark.parametrize("parameter", INIT)
@pytest.mark.parametrize("kind", [Tenancy, AsyncTenancy])
def test_options_of_a_tenancy(kind: Any, parameter: str) -> None:
    refuse(
        kind,
        {"database": URL, "tenant": MetaData(schema="tenant")},
        {"database": (), "tenant": (), parameter: INIT[parameter]},
    )


@pytest.mark.parametrize("wrong", [None, *NOT_FUNCTION])
def test_the_function_that_an_async_tenancy_runs(wrong: object, portal: BlockingPortal) -> None:
    tenancy = AsyncTenancy(URL, tenant=MetaData(schema="tenant"))
    with pytest.raises((TypeError, ConfigurationError), match="function"):
        portal.call(tenancy.run, wrong)


def test_the_other_database_of_an_async_tenancy() -> None:
    for wrong in (5, ["url"], AsyncTenancy):
        with pytest.raises(TypeError):
            AsyncTenancy(URL, tenant=MetaData(schema="tenant"), sync_database=wrong)


@pytest.mark.parametrize("name", [name for name, wrong in TENANCY.items() if wrong])
def test_methods_of_a_tenancy(
    filled_template: str, any_tenancy: Any, engine: Engine, good: dict[str, Any], name: str
) -> None:
    acme = any_tenancy.get("acme")
    wrong = {
        parameter: tuple(acme if each is A_TENANT else each for each in values)
        for parameter, values in TENANCY[name].items()
    }

    def call(**options: Any) -> None:
        found = getattr(any_tenancy, name)(**options)
        if name == "session" and not isinstance(found, tenantkit.TenantSession):
            found.__enter__()

    if name == "binding":
        good["tenant"] = acme
    call.__signature__ = inspect.signature(getattr(Tenancy, name))  # type: ignore[attr-defined]
    with tenantkit.tenant_context(acme):  # must not replace a wrong tenant
        refuse(call, good, wrong)
    assert registered(engine) == {"acme": "active"}


@pytest.mark.parametrize("name", MIGRATIONS)
def test_functions_of_the_migrations(
    make_tenancy: Callable[..., Tenancy], engine: Engine, good: dict[str, Any], tmp_path: Path, name: str
) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme")
    environment.add("t2", 'op.add_column("note", sa.Column("extra", sa.Text), schema="tenant")')
    migrations.migrate(tenancy)
    files = sorted(tmp_path.rglob("*.py"))
    refuse(getattr(migrations, name), {**good, "tenancy": tenancy}, MIGRATIONS[name])
    assert sorted(tmp_path.rglob("*.py")) == files
    assert migrations.status(tenancy).is_current
    assert len(migrations.list_runs(tenancy)) == 1


@pytest.mark.parametrize("name", [name for name, (_, wrong) in OTHERS.items() if wrong])
def test_other_functions(filled_template: str, tenancy: Tenancy, good: dict[str, Any], name: str) -> None:
    function, wrong = OTHERS[name]
    good |= {"tenancy": tenancy, "tenant": tenancy.get("acme")}
    if name in {"testing.tripwire", "testing.rolled_back"}:
        function = entered(function)
    if name.startswith("flask"):
        good["app"] = flask.Flask(__name__)
    refuse(function, {**good, "key": "secret", "copy": "copy", "as_": "other"}, wrong)


def entered(manager: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes a context manager and enters it."""

    @functools.wraps(manager)
    def enter(**options: Any) -> None:
        with manager(**options):
            pass

    return enter


class asynchronous_get:  # noqa: N801 - the result of an async function, without the warning that it is not awaited
    def __await__(self) -> Any: ...


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Bare(DeclarativeBase):
    pass


MISSPELT: dict[str, Any] = {"tenant": ["acme"]}
OF_ANOTHER: dict[str, Any] = {"limit": 3}
NUMBERED: dict[Any, Any] = {1: 2}
FILTER: dict[str, Any] = {"stat": "active"}
INTENTIONS: dict[str, tuple[Callable[[Tenancy], Any], str]] = {
    "a misspelt option": (lambda t: migrations.downgrade(t, "-1", **MISSPELT), "Did you mean tenants=?"),
    "an option of another function": (lambda t: migrations.migrate(t, **OF_ANOTHER), "Its options are tenants, exclude"),
    "a misspelt filter": (lambda t: t.list(**FILTER), "stat"),
    "a misspelt word": (lambda _: Tenancy(URL, tenant=Base.metadata, raw_sql="forbidden"), "Did you mean 'forbid'?"),
    "a word in capitals": (lambda _: Tenancy(URL, tenant=Base.metadata, raw_sql="Forbid"), "Did you mean 'forbid'?"),
    "a misspelt status": (lambda t: t.list(status="actve"), "Did you mean 'active'?"),
    "one key for several": (lambda t: migrations.migrate(t, tenants="acme"), "Write tenants=['acme']."),
    "one reserved key": (lambda _: Tenancy(URL, tenant=Base.metadata, reserved_keys="www"), "Write reserved_keys=['www']."),
    "a reserved key in capitals": (lambda _: Tenancy(URL, tenant=Base.metadata, reserved_keys=["WWW"]), "Write 'www'."),
    "one extra schema": (lambda _: Tenancy(URL, tenant=Base.metadata, extra_schemas="public"), "extra_schemas=['public']"),
    "one domain": (lambda t: t.create("acme", domains="acme.example.com"), "Write domains=['acme.example.com']."),
    "waves as on the command line": (lambda t: migrations.migrate(t, waves="5%,100%"), "Write waves=[5, 25, 100]"),
    "a class of models": (lambda _: Tenancy(URL, tenant=Base), "Pass its metadata: tenant=Base.metadata."),
    "a class of shared models": (lambda _: Tenancy(URL, tenant=Base.metadata, shared=Bare), "shared=Bare.metadata"),
    "a key for a tenant": (lambda _: context.copy_context_for("acme"), "Look it up: tenancy.get('acme')."),
    "one domain twice": (lambda t: t.create("acme", domains=["a.test", "A.test."]), "domains= holds 'a.test' twice"),
    "a URL that is not set": (lambda _: Tenancy(None, tenant=Base.metadata), "environment variable"),
    "an async function": (lambda t: t.create("acme", seed=asynchronous), "write a plain one"),
    "a generator": (lambda t: migrations.migrate(t, tenants=(key for key in ["acme"])), "Write tenants=list(...)."),
    "a class of resolvers": (lambda _: resolvers.first_of(resolvers.Domain), "Domain(...)"),
    "a date among attributes": (lambda t: t.create("acme", attributes={"a": 1, "on": date(2026, 1, 1)}), "attributes['on'] is"),
    "a number for a name": (lambda t: t.list(attributes=NUMBERED), "The name 1 is no string."),
    "a tenant that was not awaited": (lambda t: t.session(asynchronous_get()), "Await it first."),
    "no listening": (lambda _: Tenancy(URL, tenant=Base.metadata, listen="no"), "True or False"),
    "a number that PostgreSQL does not have": (lambda t: t.list(limit=10**20), "PostgreSQL has none that large"),
    "a number that Python does not write": (lambda t: t.list(limit=10**5000), "limit=<a number of more than 4300 digits>"),
    "such a number among attributes": (lambda t: t.create("acme", attributes={"n": 10**4300}), "attributes['n'] is"),
    "no cache": (lambda _: Tenancy(URL, tenant=Base.metadata, cache_size=0), "at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", INTENTIONS)
def test_an_error_names_the_probable_intention(tenancy: Tenancy, name: str) -> None:
    act, advice = INTENTIONS[name]
    with pytest.raises(REFUSED) as refused:
        act(tenancy)
    assert advice in str(refused.value)


SECRET = "hunter2"


REVEALING: dict[str, Callable[[Tenancy, Any], object]] = {
    "beside a date": lambda t, _: t.update("acme", attributes={"token": SECRET, "on": date(2026, 1, 1)}),
    "bytes": lambda t, _: t.update("acme", attributes={"token": SECRET.encode()}),
    "beside a number for a name": lambda t, _: t.list(attributes={"token": SECRET, **NUMBERED}),
    "of a tenant for a key": lambda t, tenant: t.get(tenant),
    "of a tenant to list after": lambda t, tenant: t.list(after=tenant),
    "of a tenant among keys": lambda t, tenant: migrations.migrate(t, tenants=[tenant]),
}


@pytest.mark.parametrize("act", REVEALING.values(), ids=REVEALING)
def test_an_error_does_not_show_attributes(tenancy: Tenancy, act: Callable[[Tenancy, Any], object]) -> None:
    tenant = tenancy.create("acme", attributes={"token": SECRET})
    with pytest.raises(REFUSED) as refused:
        act(tenancy, tenant)
    assert SECRET not in str(refused.value)


def test_the_error_for_an_async_tenancy_advises_its_sync_attribute(any_tenancy: Any) -> None:
    plain = getattr(any_tenancy, "sync", any_tenancy)
    asynchronous_tenancy = AsyncTenancy(URL, tenant=Base.metadata, listen=False)
    with pytest.raises(TypeError, match=r"pass tenancy\.sync"):
        migrations.status(asynchronous_tenancy)
    with pytest.raises(TypeError, match=r"pass tenancy\.sync"):
        wsgi.TenantMiddleware(len, asynchronous_tenancy, resolver=resolvers.Domain())
    asgi.TenantMiddleware(asynchronous, plain, resolver=resolvers.Domain())
    asgi.TenantMiddleware(asynchronous, asynchronous_tenancy, resolver=resolvers.Domain())


@pytest.mark.parametrize("name", KINDS)
def test_any_option_of_a_migration_may_be_none(name: str) -> None:
    assert MigrateOptions.of("migrate", {name: None}) == MigrateOptions.of("migrate", {})


def test_the_strings_of_every_choice_are_accepted(make_tenancy: Callable[..., Tenancy]) -> None:
    for word in get_args(RawSQL):
        assert make_tenancy(raw_sql=word).raw_sql == word
    assert KINDS.keys() == Options.__annotations__.keys()


@pytest.mark.parametrize("status", ["active", "suspended", ["active"], ("active", "suspended"), {"suspended"}, []])
def test_tenants_are_listed_by_the_string_of_their_status(any_tenancy: Any, status: Any) -> None:
    any_tenancy.create("acme")
    any_tenancy.create("beta")
    any_tenancy.suspend("beta")
    wanted = {"active": ["acme"], "suspended": ["beta"]}
    words = [status] if isinstance(status, str) else list(status)
    assert [tenant.key for tenant in any_tenancy.list(status=status)] == sorted(
        chain.from_iterable(map(wanted.get, words))
    )


def test_the_advice_for_models_without_a_schema_does_not_make_them_shared() -> None:
    metadata = MetaData()
    Table("invoice", metadata, Column("id", Integer, primary_key=True))
    with pytest.raises(ConfigurationError) as refused:
        Tenancy(URL, tenant=metadata)
    advice = str(refused.value)
    assert "invoice" in advice
    assert "placeholder=None" in advice
    assert "MetaData(schema='tenant')" in advice
    assert "public" not in advice
    tenancy = Tenancy(URL, tenant=metadata, placeholder=None)
    assert [table.name for table in tenancy.tables.tenant] == ["invoice"]
    tenancy.close()


def test_one_bare_table_beside_tenant_tables_may_be_of_either_side() -> None:
    metadata = MetaData()
    Table("invoice", metadata, Column("id", Integer, primary_key=True), schema="tenant")
    Table("currency", metadata, Column("code", Integer, primary_key=True))
    with pytest.raises(
        ConfigurationError, match=r"without a schema: currency.*MetaData\(schema='tenant'\).*real schema"
    ):
        Tenancy(URL, tenant=metadata)


def test_a_missing_migrations_folder_is_named_on_use(
    make_tenancy: Callable[..., Tenancy], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tenancy = make_tenancy(migrations="migratons")  # `tenantkit init` creates it, with a tenancy that exists
    looked_at = str(tmp_path / "migratons")
    tenant = make_tenancy().create("acme")
    for act in (
        lambda: tenancy.create("beta"),
        lambda: migrations.migrate(tenancy),
        lambda: migrations.status(tenancy),
        lambda: migrations.revision(tenancy, "first"),
        lambda: tenancy.at_revision(tenant, "0001"),
        lambda: lint.lint(tenancy),
        lambda: drift.check(tenancy, models=True),
    ):
        with pytest.raises(ConfigurationError) as refused:
            act()
        assert looked_at in str(refused.value)
        assert "tenantkit init" in str(refused.value)
    assert registered(engine) == {"acme": "active"}


@pytest.mark.parametrize(
    "answer", [7, b"acme", True, ["acme"], asynchronous, resolvers.ByKey(7), resolvers.ByDomain(None)]
)
def test_a_wrong_result_of_a_resolver_is_an_error_and_no_unknown_tenant(answer: Any) -> None:
    with pytest.raises(TypeError, match="resolver returned"):
        resolvers.resolve(lambda _: answer, resolvers.RequestView())


def test_a_misspelt_option_of_env_py_is_refused(make_tenancy: Callable[..., Tenancy], tmp_path: Path) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    env = environment.folder / "env.py"
    env.write_text(env.read_text().replace("run_environment(", "run_environment(compare_typ=False, "))
    with pytest.raises(tenantkit.ProvisioningError, match=r"Did you mean compare_type=\?"):
        make_tenancy(migrations=environment.folder).create("acme")
    env.write_text(env.read_text().replace("compare_typ=", "my_plugins_setting="))
    make_tenancy(migrations=environment.folder).create("acme")


def test_no_message_shows_a_password() -> None:
    secret = "postgresql+psycopg://app:s3cret@db/app"
    for act in (
        lambda: Tenancy(URL, tenant=Base.metadata, engine_options=secret),
        lambda: Tenancy(secret.encode(), tenant=Base.metadata),
        lambda: AsyncTenancy(create_engine(secret), tenant=Base.metadata),
        lambda: migrations.migrate(secret),
    ):
        with pytest.raises(TypeError) as refused:
            act()
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "call",
    [
        'op.backfill("note", {"extra": "x"}, "extra IS NULL", %s)',
        'op.add_required_column("note", sa.Column("must", sa.Text, nullable=False), "x", %s)',
    ],
)
@pytest.mark.parametrize("wrong", ["batch_size=0", "batch_size=-1", "batch_size='10'", "pause=-1", "pause='1'"])
def test_a_backfill_that_could_not_end_is_refused_before_it_begins(
    make_tenancy: Callable[..., Tenancy], tmp_path: Path, call: str, wrong: str
) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("extra", sa.Text), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme")  # the table has no rows
    environment.add("t2", call % wrong)
    with pytest.raises(tenantkit.MigrationError, match=f"{wrong.partition('=')[0]}=.*of at least"):
        migrations.migrate(tenancy, jobs=0)


@pytest.mark.parametrize(("make", "what"), [(asynchronous, "an awaitable"), (generator, "a generator")])
def test_an_unfinished_result_of_a_plain_callable_is_refused(
    make_tenancy: Callable[..., Tenancy], tmp_path: Path, make: Callable[[], Any], what: str
) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("extra", sa.Text), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    with pytest.raises(tenantkit.ProvisioningError, match=f"seed= returned {what}"):
        tenancy.create("acme", seed=lambda _: make())
    for key in ("acme", "beta"):
        tenancy.create(key)
    environment.add("t2", 'op.add_column("note", sa.Column("more", sa.Text), schema="tenant")')
    with pytest.raises(tenantkit.MigrationError, match=f"check= returned {what}"):
        migrations.migrate(tenancy, canary=1, check=lambda _: make())


def test_the_options_of_a_run_may_be_any_mappings_and_collections(
    make_tenancy: Callable[..., Tenancy], tmp_path: Path
) -> None:
    migrations.init(tmp_path / "migrations")
    environment = Environment(tmp_path / "migrations")
    environment.add("t1", 'op.create_table("note", sa.Column("extra", sa.Text), schema="tenant")')
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme", attributes={"plan": {"name": "pro"}})
    environment.add("t2", 'op.add_column("note", sa.Column("more", sa.Text), schema="tenant")')
    where = MappingProxyType({"plan": MappingProxyType({"name": "pro"})})
    report = migrations.migrate(tenancy, tenants=frozenset({"acme"}), exclude=set(), where=where, waves=(100,))
    assert [outcome.key for outcome in report.migrated] == ["acme"]
