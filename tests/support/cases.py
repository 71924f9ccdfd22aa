"""Tests in two sizes: by default a few cases of each, with ``--cases=all`` all of them.

A few are as many as it takes for each value of each parameter to occur. ``--cases=more`` runs the tests that the
default leaves out, and those that do more in the large size; of what takes longest, such as a kill at each statement,
it does a part (`dose`). A case that ``-k`` or its full name picks out alone runs in either size, unless it is marked
``all_cases``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from math import isqrt
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the size."""
    parser.addoption(
        "--cases", choices=("few", "all", "more"), default="few", help="a few cases, all, or those left out of the few"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line(
        "markers",
        "few_cases(**numbers): by default take only that number of values of each parameter that is named here",
    )
    config.addinivalue_line("markers", "all_cases: do not run by default")


@pytest.fixture(scope="session")
def all_cases(pytestconfig: pytest.Config) -> bool:
    """Whether a test that goes through cases by itself does so with all of them."""
    return bool(pytestconfig.getoption("cases") != "few")


@pytest.fixture(scope="session")
def dose(all_cases: bool, pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Return a function that chooses: the first number by default, the second with ``--cases=all``.

    With ``--cases=more``, it is one between them: the root of their product.
    """
    size = pytestconfig.getoption("cases")
    return lambda few, many: {"few": few, "more": isqrt(few * many), "all": many}[size]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Leave out the tests that are not of the chosen size, and begin with those that take longest in the large one."""
    size = config.getoption("cases")
    if size != "few":
        items.sort(key=lambda item: "all_cases" not in _fixtures(item))
    if size == "all":
        return
    few = _few(items)
    chosen = few if size == "few" else {item for item in items if item not in few or "all_cases" in _fixtures(item)}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def covering(cases: Mapping[T, Mapping[str, object]], **numbers: int) -> set[T]:
    """Return a few of the cases, in which each value of each parameter occurs.

    A case maps parameters to hashable values. Of a parameter in *numbers*, that number of values is taken, spread
    evenly. Among cases that add as many values, the first with rarely used values is taken, so that the values of a
    short parameter alternate along a long one.
    """
    left = dict(cases)
    for name, number in numbers.items():
        values = list(dict.fromkeys(case[name] for case in left.values()))
        taken = {values[place * len(values) // number] for place in range(number)}
        left = {key: case for key, case in left.items() if case[name] in taken}
    chosen: set[T] = set()
    uses: Counter[tuple[str, object]] = Counter()

    def gain(key: T) -> tuple[int, int]:
        counts = [uses[value] for value in left[key].items()]
        return counts.count(0), -sum(counts)

    while left and gain(best := max(left, key=gain))[0]:
        chosen.add(best)
        uses.update(left.pop(best).items())
    return chosen


def _few(items: Iterable[Any]) -> set[Any]:
    items = [item for item in items if not item.get_closest_marker("all_cases")]
    thinned = [item for item in items if hasattr(item, "callspec")]
    few = set(items).difference(thinned)
    thinned.sort(key=lambda item: (_function(item), list(item.callspec.indices.values())))
    for _, group in groupby(thinned, key=_function):
        cases = {item: _values(item) for item in group}
        first = next(iter(cases))
        rows, mark = _rows(first), first.get_closest_marker("few_cases")
        numbers = mark.kwargs if mark else {}
        few |= covering(cases, **{rows.get(name, name): number for name, number in numbers.items()})
    return few


def _values(item: Any) -> dict[str, tuple[int, ...]]:
    """Return the identities of the parameters' objects, since not all values can be hashed or compared.

    A row of parameters that are given together is one value, named for the first of them.
    """
    rows = _rows(item)
    values: dict[str, tuple[int, ...]] = {}
    for name, value in item.callspec.params.items():
        key = rows.get(name, name)
        values[key] = (*values.get(key, ()), id(value))
    return values


def _rows(item: Any) -> dict[str, str]:
    """Return for each parameter the first one of those that it is given together with."""
    first: dict[str, str] = {}
    for mark in item.iter_markers("parametrize"):
        names = [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        first |= dict.fromkeys(names, names[0])
    return first


def _function(item: Any) -> str:
    return str(item.nodeid).partition("[")[0]


def _fixtures(item: Any) -> tuple[str, ...]:
    return tuple(getattr(item, "fixturenames", ()))
