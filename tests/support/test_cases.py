"""The sizes are fixed choices of cases: one of each test; each value of each parameter; all."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.support.cases import covering

pytestmark = pytest.mark.each_value

MODULE = """
import pytest

@pytest.mark.parametrize("short", "xy")
@pytest.mark.parametrize("long", "abcd")
def test_thin(long, short): pass

@pytest.mark.each_value
@pytest.mark.parametrize("short", "xy")
@pytest.mark.parametrize("long", "abcd")
def test_cheap(long, short): pass

@pytest.mark.each_pair
@pytest.mark.parametrize("c", "xy")
@pytest.mark.parametrize("b", "xy")
@pytest.mark.parametrize("a", "xy")
def test_pairs(a, b, c): pass

@pytest.mark.some_values(number=2)
@pytest.mark.parametrize("number", range(10))
def test_spread(number): pass

@pytest.mark.parametrize(("one", "two"), [(1, 2), (2, 1), (1, 1)])
def test_rows(one, two): pass

@pytest.mark.parametrize("fault", [1, pytest.param(2, marks=pytest.mark.all_cases)])
def test_fault(fault): pass

@pytest.mark.all_cases
@pytest.mark.parametrize("fault", [1, 2])
def test_slow(fault): pass

def test_in_both(all_cases): assert all_cases is ALL

def test_dose(dose): assert dose(40, 2) == DOSE

def test_plain(): pass
"""
COVERED = {"thin[a-x]", "thin[b-y]", "thin[c-x]", "thin[d-y]", "rows[1-2]", "rows[2-1]", "rows[1-1]"}
CHEAP = {"cheap[a-x]", "cheap[b-y]", "cheap[c-x]", "cheap[d-y]"}
PAIRS = {f"pairs[{a}-{b}-{c}]" for a, b, c in product("xy", repeat=3)}
SPREAD = {f"spread[{number}]" for number in range(10)}
ALWAYS = {"fault[1]", "in_both", "dose", "plain"}
IN_ALL = {
    *(f"{test}[{long}-{short}]" for test in ("thin", "cheap") for long, short in product("abcd", "xy")),
    *("rows[1-2]", "rows[2-1]", "rows[1-1]", "fault[2]", "slow[1]", "slow[2]"),
    *(PAIRS | SPREAD | ALWAYS),
}


def run(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    """Return the names of the tests that ran, without ``test_``."""
    is_large = any(argument.startswith("--cases") for argument in arguments)
    dose = 8 if "--cases=more" in arguments else 2 if is_large else 40
    pytester.makepyfile(test_it=f"ALL = {is_large}\nDOSE = {dose}\n{MODULE}")
    result = pytester.inline_run("-p", "tests.support.cases", "-p", "no:cacheprovider", *arguments)
    passed, skipped, failed = result.listoutcomes()
    assert (skipped, failed) == ([], [])
    return {report.nodeid.rpartition("::test_")[2] for report in passed}


def test_each_size_runs_its_cases_in_any_order(pytester: pytest.Pytester) -> None:
    for seed in ("1", "2"):
        order = ("-p", "randomly", f"--randomly-seed={seed}")
        few = run(pytester, *order)
        more = run(pytester, *order, "--cases=more")
        assert run(pytester, *order, "--cases=all") == IN_ALL
        assert {name for name in few if name in ALWAYS | CHEAP} == ALWAYS | CHEAP
        alone = few - ALWAYS - CHEAP
        assert sorted(name.partition("[")[0] for name in alone) == ["pairs", "rows", "spread", "thin"]
        assert few & more == {"in_both", "dose"}
        assert (few | more) - alone >= COVERED - alone
        assert {name for name in more if name.startswith("spread")} == {"spread[0]", "spread[5]"} - alone
        assert {"fault[2]", "slow[1]", "slow[2]"} <= more
        pairs = [name[6:-1].split("-") for name in few | more if name.startswith("pairs")]
        assert len(pairs) < 8
        for one, other in combinations(range(3), 2):
            assert {(values[one], values[other]) for values in pairs} == {*product("xy", repeat=2)}


def test_a_case_that_is_chosen_by_its_name_runs(pytester: pytest.Pytester) -> None:
    assert run(pytester, "-k", "spread and 7") == {"spread[7]"}
    assert run(pytester, "test_it.py::test_thin[a-y]") == {"thin[a-y]"}


def test_the_one_case_differs_from_test_to_test(pytester: pytest.Pytester) -> None:
    tests = "\n".join(
        f"@pytest.mark.parametrize('driver', 'abc')\ndef test_{number}(driver): pass" for number in range(30)
    )
    pytester.makepyfile(test_it=f"import pytest\n{tests}")
    result = pytester.inline_run("-p", "tests.support.cases", "-p", "no:cacheprovider")
    chosen = [report.nodeid[-2] for report in result.listoutcomes()[0]]
    assert len(chosen) == 30
    assert all(chosen.count(driver) > 4 for driver in "abc")


@pytest.mark.parametrize("sizes", [(1,), (7,), (5, 3), (52, 2), (2, 3, 4), (1, 9, 1)])
def test_each_value_occurs_and_short_parameters_alternate(sizes: tuple[int, ...]) -> None:
    cases = {case: dict(zip("abc", case, strict=False)) for case in product(*map(range, sizes))}

    chosen = covering(cases)

    assert len(chosen) == max(sizes)
    for place, size in enumerate(sizes):
        counts = [[case[place] for case in chosen].count(value) for value in range(size)]
        assert min(counts) >= 1
        assert max(counts) - min(counts) <= 1, "no value is preferred"


def test_of_a_named_parameter_few_values_are_taken_from_everywhere() -> None:
    cases = {(a, b): {"a": a, "b": b} for a in range(10) for b in range(2)}

    assert {a for a, _ in covering(cases, a=4)} == {0, 2, 5, 7}
    assert covering(cases, a=99) == covering(cases)
