"""Cases of the contract, and what they find in a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.line import Line


@dataclass(frozen=True)
class Case:
    """One claim about an isolation."""

    line: Line
    name: str
    holds: Callable[[Deployment], bool]
    """Returns whether the claim holds; it raises if what must work in every isolation does not."""
    is_alone: bool = False
    """Whether it needs a deployment of its own."""


def find(deployment: Deployment, cases: Iterable[Case]) -> dict[Case, bool | str]:
    """Return for each case whether it holds, or the error that it raised."""
    found: dict[Case, bool | str] = {}
    for case in cases:
        try:
            deployment.clear()
            found[case] = case.holds(deployment)
        except Exception as error:  # noqa: BLE001 - the other cases go on
            found[case] = f"{type(error).__name__}: {error}"
    return found


def violations(deployment: Deployment, cases: Iterable[Case]) -> dict[str, bool | str]:
    """Return what was found of the cases in which the isolation is not as it is declared."""
    return {
        f"{case.line.title}: {case.name}": found
        for case, found in find(deployment, cases).items()
        if found is not (case.line not in deployment.kind.lacks)
    }
