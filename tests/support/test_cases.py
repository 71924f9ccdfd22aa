"""A few cases are a fixed choice in which each value of each parameter occurs, and both sizes together are all cases."""

from __future__ import annotations

from itertools import product

import pytest

from tests.support.cases import covering

MODULE = """
import pytest

@pytest.mark.parametrize("short", "xy")
@pytest.mark.parametrize("long", "abcd")
def test_thin(long, short): pass

@pytest.mark.few_cases(number=2)
@pytest.mark.parametrize("number", range(10))
def test_spread(number): pass

@pytest.mark.parametrize(("one", "two"), [(1, 2), (2, 1), (1, 1)])
def test_rows(one, two): pass

@pytest.mark.parametrize("fault", [1, pytest.param(2, marks=pytest.mark.all_cases)])
def test_fault(fault): pass

def test_in_both(all_cases): assert all_cases is ALL

def test_dose(dose): assert dose(40, 2) == DOSE

def test_plain(): pass
"""
FEW = {
    *("thin[a-x]", "thin[b-y]", "thin[c-x]", "thin[d-y]"),
    *("rows[1-2]", "rows[2-1]", "rows[1-1]"),
    *("spread[0]", "spread[5]", "fault[1]", "in_both", "dose", "plain"),
}
MORE = {
    *("thin[a-y]", "thin[b-x]", "thin[c-y]", "thin[d-x]"),
    *(f"spread[{number}]" for number in (1, 2, 3, 4, 6, 7, 8, 9)),
    *("fault[2]", "in_both", "dose"),
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
        assert run(pytester, *order) == FEW
        assert run(pytester, *order, "--cases=more") == MORE
        assert run(pytester, *order, "--cases=all") == FEW | MORE


def test_a_case_that_is_chosen_by_its_name_runs(pytester: pytest.Pytester) -> None:
    assert run(pytester, "-k", "spread and 7") == {"spread[7]"}
    assert run(pytester, "test_it.py::test_thin[a-y]") == {"thin[a-y]"}


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
