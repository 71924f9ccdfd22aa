"""Every isolation keeps the contract, by every driver, directly and behind PgBouncer in transaction mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.isolation.contract import closed, keys, lifecycle, surroundings, visibility
from tests.isolation.contract.case import Case, find
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import KINDS, Kind
from tests.isolation.contract.line import AGGREGATE, BULK, CORE, LINES, ORM
from tests.sessions.conftest import WAYS
from tests.support.tables import render

Examine = Callable[..., dict[str, bool | str]]

DRIVERS = ["sync", "asyncio-psycopg", "asyncio-asyncpg"]
GROUPS = {
    "visibility": visibility.CASES,
    "visibility by every way": visibility.PRODUCT,
    "keys": keys.CASES,
    "closed": closed.CASES,
    "surroundings": surroundings.CASES,
}

for_each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.mark.each_pair
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("cases", GROUPS.values(), ids=GROUPS)
@for_each_kind
def test_an_isolation_separates_what_it_is_declared_to(
    examine: Examine, kind: Kind, cases: Sequence[Case], driver: str, way: str
) -> None:
    assert examine(kind, cases, driver=driver, way=way) == {}


@pytest.mark.some_values(case=11)
@pytest.mark.parametrize("case", lifecycle.CASES, ids=lambda case: case.name)
@for_each_kind
def test_tenants_are_created_migrated_and_removed_one_by_one(examine: Examine, kind: Kind, case: Case) -> None:
    assert examine(kind, [case]) == {}


@pytest.mark.all_cases
@for_each_kind
def test_statements_without_text_work_where_text_is_forbidden(deploy: Callable[..., Deployment], kind: Kind) -> None:
    found = find(deploy(kind, raw_sql="forbid"), visibility.CASES)
    others = {case: holds for case, holds in found.items() if holds is not True and case.line not in kind.lacks}
    assert {case.name for case in others if case.line in {ORM, CORE, BULK, AGGREGATE}} == set()
    assert {holds for holds in others.values() if "RawSQLForbiddenError" not in str(holds)} == set()


def test_the_documentation_says_what_each_isolation_separates(
    compare_table: Callable[[str, str, str], None],
) -> None:
    """What is declared is what the tests above find."""
    rows = ((line.title, *(line.lacking if line in kind.lacks else line.held for kind in KINDS)) for line in LINES)
    table = render(("", *(kind.name for kind in KINDS)), rows)
    compare_table("discussions/isolation.md", "isolations", table)


def test_each_line_of_the_table_has_a_case() -> None:
    assert {case.line for cases in (*GROUPS.values(), lifecycle.CASES) for case in cases} == {*LINES}
