"""The contract finds faults that are planted in the library, so it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.util import immutabledict

from tenantkit import Tenancy, TenantSession
from tenantkit.databases.base import Databases
from tenantkit.drift import checking
from tenantkit.drivers.frame import FramedConnection
from tenantkit.isolation import schemas
from tenantkit.isolation.binding import Binding
from tenantkit.isolation.schema import SchemaIsolation
from tenantkit.lifecycle import doctor
from tenantkit.registry.cache import TenantCache
from tenantkit.sessions import raw_sql, session
from tenantkit.sessions.transactions import Transactions
from tests.isolation.contract import closed, keys, lifecycle, line, surroundings, visibility
from tests.isolation.contract.isolations import ROW, SCHEMA, TWO_DATABASES, Kind
from tests.support.pgbouncer import PGBOUNCER

CASES = (*visibility.CASES, *keys.CASES, *closed.CASES, *surroundings.CASES, *lifecycle.CASES)

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Fault:
    """A fault in the library, and the lines of the contract that find it."""

    plant: Callable[[Patch], None]
    lines: Sequence[line.Line]
    driver: str = "sync"
    way: str = "direct"
    kind: Kind = SCHEMA


def changed_bindings(**values: Callable[[Binding], Any]) -> Callable[[Patch], None]:
    """Return what gives each binding other values."""
    original = Binding.__post_init__

    def change(binding: Binding) -> None:
        original(binding)
        for name, value in values.items():
            object.__setattr__(binding, name, value(binding))

    return lambda patch: patch.setattr(Binding, "__post_init__", change)


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


def in_the_main_database(patch: Patch) -> None:
    def choose(databases: Databases, _key: str, _bind: Any) -> Any:
        return databases.main

    patch.setattr(session, "choose_bind", choose)


def with_the_first_target_only(patch: Patch) -> None:
    original = SchemaIsolation.targets
    patch.setattr(SchemaIsolation, "targets", lambda *arguments: [*original(*arguments)][:1])


def with_a_drop_of_all(patch: Patch) -> None:
    def drop(_isolation: SchemaIsolation, connection: Any, _tenant: Any) -> None:
        for name in schemas.read_marks(connection):
            schemas.drop_schema(connection, name)

    patch.setattr(SchemaIsolation, "drop", drop)


def with_a_drop_of_nothing(patch: Patch) -> None:
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


FAULTS = {
    "no path": Fault(
        changed_bindings(head=lambda _: ()), [line.TEXT, line.COPY_IN, line.COPY_OUT, line.VIEW, line.FUNCTION]
    ),
    "no path, asyncpg": Fault(
        changed_bindings(head=lambda _: ()), [line.TEXT, line.COPY_IN, line.COPY_OUT], "asyncio-asyncpg"
    ),
    "no setting of the tenant": Fault(
        changed_bindings(head=lambda binding: binding.head[:1]), [line.ORM, line.TEXT], kind=ROW
    ),
    "no map": Fault(
        changed_bindings(
            execution_options=lambda binding: immutabledict(
                schema_translate_map=immutabledict(), tenantkit_binding=binding
            )
        ),
        [line.ORM, line.CORE, line.BULK, line.UPSERT],
    ),
    "no mark": Fault(changed_bindings(mark=lambda _: ""), [line.PREPARED]),
    "no mark, asyncpg": Fault(changed_bindings(mark=lambda _: ""), [line.PREPARED], "asyncio-asyncpg"),
    "path for the session": Fault(with_a_path_for_the_session, [line.NO_TENANT, line.LEFT_BEHIND]),
    "path for the session, behind PgBouncer": Fault(
        with_a_path_for_the_session, [line.NO_TENANT, line.LEFT_BEHIND], way="pgbouncer"
    ),
    "path in the first transaction only": Fault(with_a_path_in_the_first_transaction_only, [line.TEXT]),
    "no clean-up": Fault(without_clean_up, [line.LEFT_BEHIND]),
    "one binding for all": Fault(with_one_binding_for_all, [line.ORM, line.TEXT]),
    "place of the tenant before": Fault(with_the_place_of_the_tenant_before, [line.ORM, line.TEXT]),
    "one cached tenant": Fault(with_one_cached_tenant, [line.ORM, line.TEXT]),
    "first map of a statement": Fault(with_the_first_map_of_a_statement, [line.ORM, line.CORE]),
    "shared sessions with a tenant's map": Fault(with_shared_sessions_of_a_tenant, [line.NO_TENANT]),
    "shared sessions with a tenant's path": Fault(with_a_head_in_shared_sessions, [line.NO_TENANT]),
    "context not checked": Fault(without_the_context, [line.WRONG_TENANT]),
    "owners not checked": Fault(without_owners, [line.WRONG_TENANT]),
    "owners of values not checked": Fault(without_owners_of_values, [line.WRONG_TENANT]),
    "maps not checked": Fault(with_maps_of_statements, [line.WRONG_TENANT]),
    "transactions not checked": Fault(without_frames, [line.WRONG_TENANT]),
    "first target only": Fault(with_the_first_target_only, [line.MIGRATION]),
    "one shape for all": Fault(with_one_shape, [line.DRIFT]),
    "removal of all": Fault(with_a_drop_of_all, [line.CREATION]),
    "removal of nothing": Fault(with_a_drop_of_nothing, [line.CREATION]),
    "no findings": Fault(without_findings, [line.DOCTOR]),
    "main database for all": Fault(in_the_main_database, [line.ORM, line.TEXT], kind=TWO_DATABASES),
}


@pytest.mark.few_cases(fault=6)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_library_is_found(
    contract_template: Callable[[Kind], Any],
    examine: Callable[..., dict[str, bool | str]],
    monkeypatch: Patch,
    fault: Fault,
) -> None:
    if fault.way == "pgbouncer" and PGBOUNCER is None:
        pytest.skip("needs PgBouncer (Debian: pgbouncer)")
    contract_template(fault.kind)
    fault.plant(monkeypatch)
    for each in fault.lines:
        cases = [case for case in CASES if case.line is each]
        assert examine(fault.kind, cases, driver=fault.driver, way=fault.way) != {}, each.title
