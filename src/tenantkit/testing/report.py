"""The result of `tenantkit.testing.assert_isolated`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from typing_extensions import override

from tenantkit.testing.canaries import Canary


class LeakError(AssertionError):
    """A tenant has seen a row of another one."""


class UnprovenWarning(UserWarning):
    """Routes or models about which `assert_isolated` has proven nothing, and routes that failed."""


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
    """The routes that could not be driven, and the models whose rows were not found, each with the reason."""
    errors: dict[str, str] = field(default_factory=dict[str, str])
    """The routes that raised an exception, or answered with a server error, perhaps among other responses."""

    def add(self, tenant: str, where: str, canaries: Iterable[Canary]) -> None:
        """Record the first of *canaries* from each place."""
        for canary in canaries:
            leak = Leak(tenant, where, canary)
            known = {(each.tenant, each.where, each.canary.place) for each in self.leaks}
            if (tenant, where, canary.place) not in known:
                self.leaks.append(leak)

    def summary(self) -> str:
        """Return the routes and models about which nothing is proven, and the errors, a line for each."""
        parts = (("Nothing is proven about these:", self.unproven), ("These failed:", self.errors))
        return "\n".join(
            "\n".join([title, *(f"  {name}: {why}" for name, why in sorted(found.items()))])
            for title, found in parts
            if found
        )
