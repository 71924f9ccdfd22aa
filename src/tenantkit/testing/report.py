"""The result of `tenantkit.testing.assert_isolated`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from typing_extensions import override

from tenantkit.testing.canaries import Canary


class LeakError(AssertionError):
    """A tenant has seen a row of another one."""


class UnprovenWarning(UserWarning):
    """Routes or models about which `assert_isolated` has proven nothing."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A canary of one tenant that another one has seen."""

    tenant: str
    """The key of the tenant that saw it."""
    where: str
    """The request and its part, the log record or the session."""
    canary: Canary

    @override
    def __str__(self) -> str:
        of = self.canary
        return f"{self.where}, as {self.tenant}: {of.place} of {of.tenant} ({of.value!r})"


@dataclass(slots=True)
class IsolationReport:
    """What `assert_isolated` found."""

    leaks: list[Leak] = field(default_factory=list[Leak])
    proven: set[str] = field(default_factory=set[str])
    """The routes, and the models, that returned the tenant's own canaries, and none of the other tenant's."""
    unproven: dict[str, str] = field(default_factory=dict[str, str])
    """The routes and models that did not, each with the reason: the status of the responses, the exception that the
    route raised, or what the request lacked."""

    def add(self, tenant: str, where: str, canaries: Iterable[Canary]) -> None:
        """Record the first of *canaries* from each place."""
        for canary in canaries:
            leak = Leak(tenant, where, canary)
            known = {(each.tenant, each.where, each.canary.place) for each in self.leaks}
            if (tenant, where, canary.place) not in known:
                self.leaks.append(leak)

    def unproven_lines(self) -> str:
        """Return the routes and models about which nothing is proven, a line for each."""
        return "\n".join(f"  {name}: {why}" for name, why in sorted(self.unproven.items()))
