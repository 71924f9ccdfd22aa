"""Decisions of a rollout and a selection, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkit import ConfigurationError, TenantNotFoundError
from tenantkit.migrations import Outcome, Wave
from tenantkit.migrations.planning.rollout import Rollout
from tenantkit.migrations.planning.selection import Selection
from tenantkit.status import Status
from tenantkit.tenant import Placement, Tenant

pytestmark = pytest.mark.each_value

KEYS = [f"k{number}" for number in range(10)]


def wave(**options: Any) -> Wave:
    return Wave(**{"run_id": 1, "number": 2, "count": 3, "outcomes": (), **options})


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [10]),
        ({"waves": [20, 50, 100]}, [2, 3, 5]),
        ({"waves": [1, 100]}, [1, 9]),
        ({"waves": [0.1, 0.2, 100]}, [1, 9]),
        ({"canary": 3}, [3, 7]),
        ({"canary": 2, "waves": [25, 100]}, [2, 2, 6]),
        ({"canary": 99}, [10]),
    ],
)
def test_waves_are_shares_of_the_tenants_without_canaries(options: Any, sizes: list[int]) -> None:
    assert [len(wave) for wave in Rollout(**options).split(KEYS)] == sizes


def test_canaries_are_first_in_the_order_of_the_run() -> None:
    assert Rollout(canary=["k7", "k2", "gone"]).split(KEYS)[0] == ["k2", "k7"]
    assert Rollout(canary=["gone"]).split(KEYS) == [KEYS]
    assert Rollout(canary=1, waves=[50, 100]).split([]) == []


@given(
    keys=st.lists(st.text("abc", min_size=1), unique=True),
    canary=st.none() | st.integers(1, 5) | st.sets(st.text("abc", min_size=1), min_size=1),
    shares=st.sets(st.floats(0.01, 99.99)),
)
def test_every_tenant_is_in_one_wave_and_none_is_empty(keys: list[str], canary: Any, shares: set[float]) -> None:
    waves = Rollout(canary=canary, waves=[*sorted(shares), 100]).split(keys)
    assert all(waves)
    assert sorted(key for wave in waves for key in wave) == sorted(keys)


@pytest.mark.parametrize(
    ("options", "tolerated"),
    [
        ({}, 200),
        ({"on_error": "stop"}, 0),
        ({"max_failures": 0}, 0),
        ({"max_failures": 3}, 3),
        ({"max_failures": "3"}, 3),
        ({"max_failures": "2%"}, 4),
        ({"max_failures": "0.9%"}, 1),
        ({"max_failures": "100%"}, 200),
    ],
)
def test_more_failures_than_the_maximum_stop_a_run(options: Any, tolerated: int) -> None:
    rollout = Rollout(**options)
    assert [failures for failures in range(201) if rollout.excess(failures, 200) is None] == list(range(tolerated + 1))


def test_the_reason_has_the_numbers() -> None:
    assert Rollout(max_failures="1%").excess(3, 200) == "3 of 200 tenants failed, more than the permitted 1%"
    assert Rollout(on_error="stop").excess(1, 1) == "1 of 1 tenant failed"


def refuse(_: Wave) -> None:
    message = "too slow"
    raise TimeoutError(message)


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (lambda _: None, None),
        (lambda _: True, None),
        (lambda _: 0, None),
        (lambda _: False, "the check after wave 2 of 3 returned False"),
        (refuse, "the check after wave 2 of 3 failed: TimeoutError: too slow"),
    ],
    ids=["None", "True", "0", "False", "raises"],
)
def test_a_check_that_raises_or_returns_false_stops_a_run(check: Any, why: str | None) -> None:
    assert Rollout(canary=1, check=check).ask(wave()) == why


def test_a_wave_has_its_failures() -> None:
    good = Outcome(key="a", schema="t_a", from_revision=None, to_revision="one")
    bad = Outcome(key="b", schema="t_b", from_revision=None, to_revision=None, error="no")
    assert wave(outcomes=(good, bad)).failures == (bad,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"canary": 0}, "0 is no canary.*at least 1"),
        ({"canary": -2}, "-2 is no canary"),
        ({"canary": []}, "is no canary"),
        ({"waves": [50, 20]}, r"50%,20% are not possible.*rise to 100%: 20%,50%,100%\."),
        ({"waves": [50, 50, 100]}, r"rise to 100%: 50%,100%\."),
        ({"waves": [5, 25]}, r"rise to 100%: 5%,25%,100%\."),
        ({"waves": [50, 120]}, "50%,120% are not possible.*at most 100%"),
        ({"waves": [0, 100]}, "more than 0%"),
        ({"waves": [float("nan"), 100]}, "more than 0%"),
        ({"waves": []}, "Waves of nothing"),
        ({"pause": -1, "canary": 1}, "pause of -1 seconds.*Give 0 or more"),
        ({"pause": float("nan"), "canary": 1}, "pause of nan"),
        ({"pause": float("inf"), "canary": 1}, "pause of inf"),
        ({"pause": 5}, "there is only one. Give waves"),
        ({"check": print}, "there is only one. Give waves"),
        ({"max_failures": "many"}, "'many' is no number of failures. Give one, such as 3, or a share, such as 2%"),
        ({"max_failures": -1}, "-1 is no number of failures"),
        ({"max_failures": "1.5"}, "'1.5' is no number of failures"),
        ({"max_failures": "101%"}, "'101%' is no number of failures"),
        ({"on_error": "stop", "max_failures": 1}, "Give one of them"),
        ({"on_error": "panic"}, "Use 'continue' or 'stop'"),
    ],
)
def test_wrong_options_are_refused_with_a_remedy(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Rollout(**options)


def test_canaries_must_be_in_the_run() -> None:
    Rollout(canary=2).require_canaries(set())
    Rollout(canary=["k1"]).require_canaries({"k1", "k2"})
    with pytest.raises(ConfigurationError, match="'k3' is not among the tenants of this run"):
        Rollout(canary=["k1", "k3"]).require_canaries({"k1", "k2"})


def tenant(number: int, key: str) -> Tenant:
    now = datetime.now(UTC)
    place = Placement("main", f"t_{key}")
    return Tenant(
        id=number,
        key=key,
        name=key,
        status=Status.ACTIVE,
        placement=place,
        created_at=now,
        updated_at=now,
        attributes=MappingProxyType({}),
    )


FLEET = [tenant(number, key) for number, key in ((3, "a"), (1, "b"), (4, "c"), (2, "d"))]


def chosen(matching: Any = (1, 2, 3, 4), **options: Any) -> str:
    return "".join(each.key for each in Selection(**options).choose(FLEET, matching))


def test_a_selection_names_excludes_and_orders() -> None:
    assert chosen() == "abcd"
    assert chosen(tenants=["d", "a"]) == "ad"
    assert chosen(tenants=["d", "a", "b"], exclude={"a"}) == "bd"
    assert chosen(order="oldest") == "bdac"
    assert chosen(order="newest") == "cadb"
    assert chosen(matching={1, 4}, where={"plan": "pro"}, exclude=["c"]) == "b"
    assert sorted(chosen(order="random")) == sorted("abcd")
    assert len({chosen(order="random") for _ in range(100)}) > 1
    assert chosen(tenants=[]) == ""


@pytest.mark.parametrize("option", ["tenants", "exclude"])
def test_an_unknown_key_is_refused(option: str) -> None:
    with pytest.raises(TenantNotFoundError, match="no tenant 'x'. 'tenantkit list'"):
        chosen(**{option: ["a", "x"]})


def test_an_empty_selection_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="The attributes plan=pro leave no tenant. 'tenantkit list --json'"):
        chosen(matching=(), where={"plan": "pro"})
    with pytest.raises(ConfigurationError, match="The attributes plan=pro and the tenants to exclude leave no tenant"):
        chosen(matching=[1], where={"plan": "pro"}, exclude=["b"])
    with pytest.raises(ConfigurationError, match="Use one of key, newest"):
        Selection(order="size")
