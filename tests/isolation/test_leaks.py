"""No sequence of actions of many tenants on few connections leads to the rows of another tenant."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky, HypothesisException
from hypothesis.stateful import run_state_machine_as_test

from tests.isolation import faults
from tests.isolation.contract.closed import OBJECTS
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.writes import WRITES
from tests.isolation.leaks import crowds
from tests.isolation.leaks.machine import DRIVERS, Leaks
from tests.isolation.leaks.tenants import ALL, GUARDED, GUARDED_DEPLOYMENTS, ISOLATIONS
from tests.isolation.leaks.visits import WAYS_TO_READ
from tests.isolation.leaks.world import World

pytestmark = pytest.mark.filterwarnings(
    "ignore:transaction already deassociated",
    # A stream that nobody has closed before its connection ended.
    "ignore:Exception ignored in. <function ServerCursorMixin.__del__:pytest.PytestUnraisableExceptionWarning",
)

ACTIONS = {
    *(
        "add",
        "alternate",
        "cancel",
        "commit",
        "created again",
        "fail",
        "forge",
        "kill",
        "only read",
        "own object",
        "resume",
    ),
    *("roll back", "stream", "suspend", "update all", "use in context", "use without tenant"),
    *("caller's connection, commit", "caller's connection, rollback", "savepoint, release", "savepoint, rollback"),
}
"""Actions that must have run, as otherwise nothing was searched."""


@pytest.fixture(autouse=True)
def nothing_left() -> Generator[None]:
    """Collect streams that an error has left, so that no later test, which does not expect them, gets a warning."""
    yield
    gc.collect()


@pytest.fixture
def world(deploy_each: Callable[..., dict[str, Deployment]]) -> Generator[World]:
    pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 10}
    with closing(World(deploy_each(ALL, DRIVERS, engine_options=pool))) as world:
        yield world


@pytest.fixture
def guarded(request: pytest.FixtureRequest, deploy_each: Callable[..., dict[str, Deployment]]) -> Generator[World]:
    """The deployment with the guard that the parameter names."""
    pool = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 10}
    deployments = deploy_each(GUARDED_DEPLOYMENTS[request.param], DRIVERS, engine_options=pool, engine_budget=2)
    with closing(World(deployments, GUARDED[request.param])) as world:
        yield world


def run(world: World, number: int, **options: Any) -> None:
    """Run that number of examples."""
    own: dict[str, Any] = {
        "max_examples": number,
        "stateful_step_count": 20,
        "suppress_health_check": [*HealthCheck],
        "report_multiple_bugs": False,
        "phases": (Phase.reuse, Phase.generate, Phase.shrink),
    }
    run_state_machine_as_test(lambda: Leaks(world), settings=settings(**own | options))


def test_nothing_leaks(world: World, dose: Callable[[int, int], int]) -> None:
    run(world, dose(10, 500))
    expected = product([kind.name for kind in ISOLATIONS.values()], DRIVERS)
    assert {*expected} <= {where[1:] for where in world.ran}
    if dose(0, 1):
        ways = {f"read by {way}" for way in WAYS_TO_READ} | {f"write by {way}" for way in WRITES}
        ends = {f"one of many, {end}" for end in crowds.ENDS} | {f"object: {use}" for use in OBJECTS}
        assert ways | ends | ACTIONS <= {action for action, *_ in world.ran}


@pytest.mark.parametrize("guarded", GUARDED, indirect=True)
def test_nothing_leaks_through_a_guard(guarded: World, dose: Callable[[int, int], int]) -> None:
    run(guarded, dose(4, 80))
    if dose(0, 1):
        # 80 examples need not have each end of an action.
        ran, needed = (
            {each.partition(",")[0] for each in actions} for actions in ((a for a, *_ in guarded.ran), ACTIONS)
        )
        assert {"trespass", *needed} - {"forge", "caller's connection"} <= ran


def altered(statement: str) -> Callable[[World, pytest.MonkeyPatch], None]:
    """Return a fault in the common tables."""

    def plant(world: World, _patch: pytest.MonkeyPatch) -> None:
        world.alter_common(statement)

    return plant


def without_criteria_and_policies(world: World, patch: pytest.MonkeyPatch) -> None:
    world.alter_common("ALTER TABLE {schema}.task DISABLE ROW LEVEL SECURITY")
    faults.without_criteria(patch)


FAULTS: dict[str, Callable[[World, pytest.MonkeyPatch], None]] = {
    **{
        name: lambda _, patch, plant=plant: plant(patch)
        for name, plant in {
            "no path": faults.without_a_path,
            "no map": faults.without_a_map,
            "no setting of the tenant": faults.without_the_tenants_setting,
            "no mark": faults.without_marks,
            "path for the session": faults.with_a_path_for_the_session,
            "path in the first transaction only": faults.with_a_path_in_the_first_transaction_only,
            "no clean-up": faults.without_clean_up,
            "first map of a statement": faults.with_the_first_map_of_a_statement,
            "one dialect for all isolations": faults.with_one_dialect,
            "one binding for all": faults.with_one_binding_for_all,
            "place of the tenant before": faults.with_the_place_of_the_tenant_before,
            "one cached tenant": faults.with_one_cached_tenant,
            "context not checked": faults.without_the_context,
            "owners not checked": faults.without_owners,
            "owners of values not checked": faults.without_owners_of_values,
            "transactions not checked": faults.without_frames,
            "tenants not checked again": faults.without_a_second_look,
            "tenants recognized by their key": faults.with_the_former_tenant_of_a_key,
            "caller's connection not restored": faults.without_a_way_back,
            "main database for all": faults.in_the_main_database,
        }.items()
    },
    "policy without WITH CHECK": altered("ALTER POLICY tenantkit ON {schema}.task WITH CHECK (true)"),
    "policy for all": altered("ALTER POLICY tenantkit ON {schema}.task USING (true)"),
    "no criterion and no policy": without_criteria_and_policies,
}
"""Faults of the library, and of the common tables."""


_MEMBERS = 'GRANT "{schema1}" TO "{schema2}"; GRANT "{schema2}" TO "{schema3}"'
GUARD_FAULTS: dict[str, tuple[str, Callable[[World, pytest.MonkeyPatch], None]]] = {
    **{
        f"{guard}: {name}": (guard, lambda _, patch, plant=plant: plant(patch))
        for guard, name, plant in (
            ("role", "no role", faults.without_a_role),
            ("role", "role of the tenant before", faults.with_the_role_of_the_tenant_before),
            ("role", "role in the first transaction only", faults.with_a_path_in_the_first_transaction_only),
            ("role", "one binding for all", faults.with_one_binding_for_all),
            ("login", "no logins", faults.without_logins),
            ("login", "login of the tenant before", faults.with_the_login_of_the_tenant_before),
            ("login", "one login for all", faults.with_one_database_for_all),
            ("login", "connections of any login", faults.with_connections_of_any_database),
        )
    },
    **{f"{guard}: roles that have others": (guard, lambda world, _: world.plant(_MEMBERS)) for guard in GUARDED},
    "role: a privilege of all": (
        "role",
        lambda world, _: world.plant(
            'GRANT ALL ON SCHEMA "{schema1_place}" TO PUBLIC; GRANT SELECT ON "{schema1_place}".task TO PUBLIC'
        ),
    ),
}
"""Faults of guards, and of the roles in the database."""


@pytest.mark.all_cases
@pytest.mark.parametrize(("guarded", "plant"), GUARD_FAULTS.values(), ids=GUARD_FAULTS, indirect=["guarded"])
def test_a_fault_of_a_guard_is_found(
    guarded: World, monkeypatch: pytest.MonkeyPatch, plant: Callable[[World, pytest.MonkeyPatch], None]
) -> None:
    require_found(guarded, monkeypatch, plant)


@pytest.mark.all_cases
@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch, plant: Callable[[World, pytest.MonkeyPatch], None]
) -> None:
    require_found(world, monkeypatch, plant)


def require_found(
    world: World, monkeypatch: pytest.MonkeyPatch, plant: Callable[[World, pytest.MonkeyPatch], None]
) -> None:
    plant(world, monkeypatch)
    with pytest.raises(Exception) as found:  # noqa: PT011 - a fault may also fail closed, by an error of the database
        run(world, 600, phases=(Phase.generate,), derandomize=True, database=None)
    # What depends on the state of a connection, such as its prepared statements, does not fail a second time.
    assert isinstance(found.value, Flaky) or not isinstance(found.value, HypothesisException), found.value
