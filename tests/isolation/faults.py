"""Faults to plant in the library: each is a function that takes pytest's `MonkeyPatch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.util import immutabledict

from tenantkit import Tenancy, Tenant, TenantSession
from tenantkit.databases.base import Databases
from tenantkit.databases.budget import ConnectionBudget
from tenantkit.databases.of_tenants import TenantEngines
from tenantkit.drift import checking
from tenantkit.drivers.frame import FramedConnection
from tenantkit.isolation import schemas
from tenantkit.isolation.binding import Binding
from tenantkit.isolation.database.isolation import DatabaseMaker
from tenantkit.isolation.schema import SchemaIsolation
from tenantkit.lifecycle import doctor
from tenantkit.registry.cache import TenantCache
from tenantkit.sessions import raw_sql, row_criterion, session
from tenantkit.sessions.transactions import Transactions, _SharedConnection

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def changed_bindings(**values: Callable[[Binding], Any]) -> Plant:
    """Return what gives each binding other values."""
    original = Binding.__post_init__

    def change(binding: Binding) -> None:
        original(binding)
        for name, value in values.items():
            object.__setattr__(binding, name, value(binding))

    return lambda patch: patch.setattr(Binding, "__post_init__", change)


without_a_path = changed_bindings(head=lambda _: ())
without_the_tenants_setting = changed_bindings(head=lambda binding: binding.head[:1])
without_a_role = changed_bindings(head=lambda binding: tuple(each for each in binding.head if "role" not in each))
without_logins = changed_bindings(login=lambda _: None)
without_marks = changed_bindings(mark=lambda _: "")
without_a_map = changed_bindings(
    execution_options=lambda binding: immutabledict(schema_translate_map=immutabledict(), tenantkit_binding=binding)
)


def without_clean_up(patch: Patch) -> None:
    patch.setattr(FramedConnection, "tail", ("SELECT 1",))
    patch.setattr(FramedConnection, "joined_tail", "SELECT 1")
    patch.setattr(FramedConnection, "restore", lambda *_: None)


def with_a_path_for_the_session(patch: Patch) -> None:
    without_clean_up(patch)
    changed_bindings(head=lambda binding: (f"SET search_path TO {binding.search_path}",))(patch)


def with_a_path_in_the_first_transaction_only(patch: Patch) -> None:
    original = Transactions._begin

    def begin(transactions: Transactions, connection: Any) -> None:
        original(transactions, connection)
        transactions._head = ()

    patch.setattr(Transactions, "_begin", begin)


def with_one_binding_for_all(patch: Patch) -> None:
    original = Tenancy.bind
    made: list[Binding] = []

    def bind(*arguments: Any, **options: Any) -> Binding:
        made.append(original(*arguments, **options))
        return made[0]

    patch.setattr(Tenancy, "bind", bind)


def with_the_place_of_the_tenant_before(patch: Patch) -> None:
    original = SchemaIsolation.bind
    made: list[Any] = []

    def bind(isolation: SchemaIsolation, tenant: Any) -> Binding:
        made.append(tenant)
        return original(isolation, replace(tenant, placement=made[max(0, len(made) - 2)].placement))

    patch.setattr(SchemaIsolation, "bind", bind)


def _with_former(name: str) -> Plant:
    """Return what gives each binding the value of the one before that another tenant has."""
    original = Binding.__post_init__
    made: list[tuple[int, Any]] = []

    def change(binding: Binding) -> None:
        own = getattr(binding, name)
        former = next((value for tenant, value in reversed(made) if tenant != binding.tenant.id), own)
        made.append((binding.tenant.id, own))
        object.__setattr__(binding, name, former)
        original(binding)

    return lambda patch: patch.setattr(Binding, "__post_init__", change)


with_the_role_of_the_tenant_before = _with_former("settings")
with_the_login_of_the_tenant_before = _with_former("login")


def with_one_cached_tenant(patch: Patch) -> None:
    patch.setattr(TenantCache, "find", lambda cache, _: next((entry[0] for entry in cache._entries.values()), None))


def with_the_first_map_of_a_statement(patch: Patch) -> None:
    """Plant what a cache of SQL text would do that does not know the map."""
    original = IdentifierPreparer._render_schema_translates
    rendered: dict[str, str] = {}

    def render(preparer: Any, statement: str, schema_translate_map: Any) -> str:
        return rendered.setdefault(statement, original(preparer, statement, schema_translate_map))

    patch.setattr(IdentifierPreparer, "_render_schema_translates", render)


def with_shared_sessions_of_a_tenant(patch: Patch) -> None:
    patch.setattr(session, "NO_TENANT_SCHEMA", "t_acme")


def with_a_head_in_shared_sessions(patch: Patch) -> None:
    original = Transactions.__init__

    def init(transactions: Transactions, *arguments: Any) -> None:
        original(transactions, *arguments)
        transactions._head = transactions._head or ("SET LOCAL search_path TO t_acme",)

    patch.setattr(Transactions, "__init__", init)


def without_the_context(patch: Patch) -> None:
    patch.setattr(TenantSession, "require_same_tenant", lambda _: None)


def without_owners(patch: Patch) -> None:
    patch.setattr(session, "require_own", lambda *_: None)


def without_owners_of_values(patch: Patch) -> None:
    patch.setattr(raw_sql, "require_own_value", lambda *_: None)


def with_maps_of_statements(patch: Patch) -> None:
    patch.setattr(Binding, "require_own_map", lambda *_: None)


def without_frames(patch: Patch) -> None:
    patch.setattr(raw_sql, "_refuse_without_frame", lambda *_: None)


def without_a_second_look(patch: Patch) -> None:
    patch.setattr(TenantSession, "_verify", lambda _: None)


def with_the_former_tenant_of_a_key(patch: Patch) -> None:
    patch.setattr(Tenant, "identity", property(lambda tenant: tenant.key))


def without_a_way_back(patch: Patch) -> None:
    """Plant that a caller's connection is not restored."""
    patch.setattr(_SharedConnection, "end", lambda *_: None)


def without_criteria(patch: Patch) -> None:
    patch.setattr(row_criterion._RowCompiler, "_criteria", lambda *_: iter(()))


def with_one_dialect(patch: Patch) -> None:
    """Plant that compiled statements serve all isolations."""
    patch.setattr(row_criterion, "copy", lambda dialect: dialect)


def in_the_main_database(patch: Patch) -> None:
    def choose(databases: Databases, *_: Any) -> Any:
        return databases.main

    patch.setattr(session, "choose_bind", choose)


def with_one_database_for_all(patch: Patch) -> None:
    original = TenantEngines.get
    made: dict[TenantEngines, Any] = {}

    def get(engines: TenantEngines, *arguments: Any) -> Any:
        return made.setdefault(engines, original(engines, *arguments))

    patch.setattr(TenantEngines, "get", get)


def with_connections_of_any_database(patch: Patch) -> None:
    original = ConnectionBudget._take

    def take(budget: ConnectionBudget, pool: Any, turn: Any) -> Any:
        found = original(budget, next(iter(budget._idle.values()), pool), turn)
        return found and (found[0], pool)

    patch.setattr(ConnectionBudget, "_take", take)


def with_a_database_that_stays(patch: Patch) -> None:
    patch.setattr(DatabaseMaker, "drop", lambda *_: None)


def with_the_first_target_only(patch: Patch) -> None:
    original = SchemaIsolation.targets
    patch.setattr(SchemaIsolation, "targets", lambda *arguments: [*original(*arguments)][:1])


def with_a_drop_of_all(patch: Patch) -> None:
    def drop(_isolation: SchemaIsolation, connection: Any, _tenant: Any) -> None:
        for name in schemas.read_marks(connection):
            schemas.drop_schema(connection, name)

    patch.setattr(SchemaIsolation, "drop", drop)


def with_a_drop_of_nothing(patch: Patch) -> None:
    patch.setattr(schemas, "drop_tables", lambda *_, **__: None)
    patch.setattr(SchemaIsolation, "drop", lambda *_: None)


def without_findings(patch: Patch) -> None:
    patch.setattr(doctor, "_examine", lambda *_: None)


def with_one_shape(patch: Patch) -> None:
    """Plant a check that reads one placement and answers for all."""
    original = checking._read_hashes

    def read(databases: Databases, placements: Any) -> Any:
        hashes = original(databases, placements)
        return dict.fromkeys(hashes, next(iter(hashes.values())))

    patch.setattr(checking, "_read_hashes", read)
