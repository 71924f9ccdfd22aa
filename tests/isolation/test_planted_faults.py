"""The contract finds faults that are planted in the library, so it can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.isolation import faults
from tests.isolation.contract import closed, keys, lifecycle, line, surroundings, visibility
from tests.isolation.contract.isolations import DATABASE, LOGIN, ROLE, ROW, SCHEMA, TWO_DATABASES, Kind
from tests.support.pgbouncer import PGBOUNCER

CASES = (*visibility.CASES, *keys.CASES, *closed.CASES, *surroundings.CASES, *lifecycle.CASES)


@dataclass(frozen=True)
class Fault:
    """A fault in the library, and the lines of the contract that find it."""

    plant: faults.Plant
    lines: Sequence[line.Line]
    driver: str = "sync"
    way: str = "direct"
    kind: Kind = SCHEMA


FAULTS = {
    "no path": Fault(faults.without_a_path, [line.TEXT, line.COPY_IN, line.COPY_OUT, line.VIEW, line.FUNCTION]),
    "no path, asyncpg": Fault(faults.without_a_path, [line.TEXT, line.COPY_IN, line.COPY_OUT], "asyncio-asyncpg"),
    "no setting of the tenant": Fault(faults.without_the_tenants_setting, [line.ORM, line.TEXT], kind=ROW),
    "no role": Fault(faults.without_a_role, [line.LARGE_OBJECT, line.STATISTICS, line.ORM], kind=ROLE),
    "no logins": Fault(faults.without_logins, [line.LARGE_OBJECT, line.ORM], kind=LOGIN),
    "one login for all": Fault(faults.with_one_database_for_all, [line.ORM, line.TEXT], kind=LOGIN),
    "no map": Fault(faults.without_a_map, [line.ORM, line.CORE, line.BULK, line.UPSERT]),
    "no mark": Fault(faults.without_marks, [line.PREPARED]),
    "no mark, asyncpg": Fault(faults.without_marks, [line.PREPARED], "asyncio-asyncpg"),
    "path for the session": Fault(faults.with_a_path_for_the_session, [line.NO_TENANT, line.LEFT_BEHIND]),
    "path for the session, behind PgBouncer": Fault(
        faults.with_a_path_for_the_session, [line.NO_TENANT, line.LEFT_BEHIND], way="pgbouncer"
    ),
    "path in the first transaction only": Fault(faults.with_a_path_in_the_first_transaction_only, [line.TEXT]),
    "no clean-up": Fault(faults.without_clean_up, [line.LEFT_BEHIND]),
    "one binding for all": Fault(faults.with_one_binding_for_all, [line.ORM, line.TEXT]),
    "place of the tenant before": Fault(faults.with_the_place_of_the_tenant_before, [line.ORM, line.TEXT]),
    "one cached tenant": Fault(faults.with_one_cached_tenant, [line.ORM, line.TEXT]),
    "first map of a statement": Fault(faults.with_the_first_map_of_a_statement, [line.ORM, line.CORE]),
    "shared sessions with a tenant's map": Fault(faults.with_shared_sessions_of_a_tenant, [line.NO_TENANT]),
    "shared sessions with a tenant's path": Fault(faults.with_a_head_in_shared_sessions, [line.NO_TENANT]),
    "context not checked": Fault(faults.without_the_context, [line.WRONG_TENANT]),
    "owners not checked": Fault(faults.without_owners, [line.WRONG_TENANT]),
    "owners of values not checked": Fault(faults.without_owners_of_values, [line.WRONG_TENANT]),
    "maps not checked": Fault(faults.with_maps_of_statements, [line.WRONG_TENANT]),
    "transactions not checked": Fault(faults.without_frames, [line.WRONG_TENANT]),
    "first target only": Fault(faults.with_the_first_target_only, [line.MIGRATION]),
    "one shape for all": Fault(faults.with_one_shape, [line.DRIFT]),
    "removal of all": Fault(faults.with_a_drop_of_all, [line.CREATION]),
    "removal of nothing": Fault(faults.with_a_drop_of_nothing, [line.CREATION]),
    "no findings": Fault(faults.without_findings, [line.DOCTOR]),
    "main database for all": Fault(faults.in_the_main_database, [line.ORM, line.TEXT], kind=TWO_DATABASES),
    "main database for all with their own": Fault(faults.in_the_main_database, [line.ORM, line.TEXT], kind=DATABASE),
    "one database for all with their own": Fault(
        faults.with_one_database_for_all, [line.ORM, line.TEXT], kind=DATABASE
    ),
    "connections of any database": Fault(faults.with_connections_of_any_database, [line.ORM, line.TEXT], kind=DATABASE),
    "a database that stays": Fault(faults.with_a_database_that_stays, [line.CREATION], kind=DATABASE),
}


@pytest.mark.some_values(fault=14)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_library_is_found(
    contract_template: Callable[[Kind], Any],
    examine: Callable[..., dict[str, bool | str]],
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    if fault.way == "pgbouncer" and PGBOUNCER is None:
        pytest.skip("needs PgBouncer (Debian: pgbouncer)")
    contract_template(fault.kind)
    fault.plant(monkeypatch)
    for each in fault.lines:
        cases = [case for case in CASES if case.line is each]
        assert examine(fault.kind, cases, driver=fault.driver, way=fault.way) != {}, each.title
