"""Tests in three sizes: by default one case of each, with ``--cases=all`` all of them, and ``--cases=more`` between them.

The one case differs from test to test, so that each driver, each isolation and each engine occurs. Of a test that is
marked ``each_value``, because it takes milliseconds, each value of each parameter occurs by default.

``--cases=more`` runs what the default leaves out until each value of each parameter occurs, or each pair of values where
a test is marked ``each_pair`` [1]_, and again the tests that do more in a larger size. Of what takes longest, such as a
kill at each statement, it does a part: the root of the product of few and all (`dose`). A case that ``-k`` or its full
name picks out alone runs in each size, unless it is marked ``all_cases``.

.. [1] D. R. Kuhn, D. R. Wallace, A. M. Gallo: Software Fault Interactions and Implications for Software Testing.
   IEEE Transactions on Software Engineering 30 (6), 2004: most failures need one value or a pair of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import combinations, groupby
from math import isqrt
from typing import Any, TypeAlias, TypeVar
from zlib import crc32

import pytest

T = TypeVar("T")
Combination: TypeAlias = tuple[tuple[str, object], ...]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the size."""
    parser.addoption(
        "--cases", choices=("few", "more", "all"), default="few", help="one case of each test, further ones, or all"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "each_value: let each value of each parameter occur by default")
    config.addinivalue_line("markers", "each_pair: let each pair of values of two parameters occur with --cases=more")
    config.addinivalue_line(
        "markers", "some_values(**numbers): of the parameters named here, --cases=more takes that number of values"
    )
    config.addinivalue_line("markers", "all_cases: do not run by default")


@pytest.fixture(scope="session")
def all_cases(pytestconfig: pytest.Config) -> bool:
    """Whether a test that goes through cases by itself does so with all of them."""
    return bool(pytestconfig.getoption("cases") != "few")


def number_of(size: str, few: int, many: int) -> int:
    """Return *few* or *many*, or for ``--cases=more`` the root of their product."""
    return {"few": few, "more": isqrt(few * many), "all": many}[size]


@pytest.fixture(scope="session")
def dose(all_cases: bool, pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Return a function that chooses: the first number by default, the second with ``--cases=all``.

    With ``--cases=more``, it is one between them: the root of their product.
    """
    return partial(number_of, pytestconfig.getoption("cases"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Leave out the tests that are not of the chosen size, and begin with those that take longest in the large one."""
    size = config.getoption("cases")
    if size != "few":
        items.sort(key=lambda item: "all_cases" not in _fixtures(item))
    if size == "all":
        return
    few, more = _sizes(items)
    chosen = few if size == "few" else more
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def covering(cases: Mapping[T, Mapping[str, object]], *, together: int = 1, **numbers: int) -> set[T]:
    """Return a few of the cases, in which each value of each parameter occurs, or each pair of values.

    A case maps parameters to hashable values. Of a parameter in *numbers*, that number of values is taken, spread
    evenly. *together* is the number of parameters whose values occur in each combination. Among cases that add as many
    of them, the first with rarely used ones is taken, so that the values of a short parameter alternate along a long
    one.
    """
    left = dict(cases)
    for name, number in numbers.items():
        values = list(dict.fromkeys(case[name] for case in left.values()))
        taken = {values[place * len(values) // number] for place in range(number)}
        left = {key: case for key, case in left.items() if case[name] in taken}
    chosen: set[T] = set()
    uses: Counter[Combination] = Counter()
    combinations_of = {key: list(combinations(case.items(), min(together, len(case)))) for key, case in left.items()}

    def gain(key: T) -> tuple[int, int]:
        counts = [uses[each] for each in combinations_of[key]]
        return counts.count(0), -sum(counts)

    while combinations_of and gain(best := max(combinations_of, key=gain))[0]:
        chosen.add(best)
        uses.update(combinations_of.pop(best))
    return chosen


def _sizes(items: Iterable[Any]) -> tuple[set[Any], set[Any]]:
    """Return the tests of the default, and those of ``--cases=more``."""
    few = {item for item in items if not (hasattr(item, "callspec") or item.get_closest_marker("all_cases"))}
    more = {item for item in items if not hasattr(item, "callspec") and item not in few}
    thinned = [item for item in items if hasattr(item, "callspec")]
    thinned.sort(key=lambda item: (_function(item), list(item.callspec.indices.values())))
    for name, group in groupby(thinned, key=_function):
        cases = {item: _values(item) for item in group}
        first = next(iter(cases))
        default = covering({item: case for item, case in cases.items() if not item.get_closest_marker("all_cases")})
        if default and not first.get_closest_marker("each_value"):
            ordered = [item for item in cases if item in default]
            default = {ordered[crc32(name.encode()) % len(ordered)]}
        few |= default
        together = 2 if first.get_closest_marker("each_pair") else 1
        more |= covering(cases, together=together, **_numbers(first)) - default
    return few, more | {item for item in few if "all_cases" in _fixtures(item)}


def _numbers(item: Any) -> dict[str, int]:
    """Return the numbers of the mark ``some_values``."""
    rows, mark = _rows(item), item.get_closest_marker("some_values")
    return {rows.get(name, name): number for name, number in (mark.kwargs if mark else {}).items()}


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
