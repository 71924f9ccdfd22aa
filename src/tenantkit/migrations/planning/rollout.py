"""The rollout of a run: canaries, waves and reasons to stop. Pure: no access to a database."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Literal, TypeAlias, get_args

from tenantkit.arguments import require_done
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.results.report import Wave
from tenantkit.postgres.errors import reason
from tenantkit.user_code import ContainedExits

OnError: TypeAlias = Literal["continue", "stop"]


Check: TypeAlias = Callable[[Wave], object]
"""Checks the application after a wave; raises, or returns ``False``, to stop the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The rollout of a run.

    :raises ConfigurationError: if the values are not valid.
    """

    canary: int | Collection[str] | None = None
    waves: Sequence[float] = (100,)
    pause: float = 0
    check: Check | None = None
    max_failures: int | str | None = None
    on_error: OnError = "continue"

    def __post_init__(self) -> None:
        if (isinstance(self.canary, int) and self.canary < 1) or self.canary in ((), [], "", set()):
            raise ConfigurationError(
                f"{self.canary!r} is no canary. Give the number of tenants that go first, at least 1, or their keys; "
                "or leave it out."
            )
        _require_waves(self.waves)
        if not 0 <= self.pause < float("inf"):
            raise ConfigurationError(f"A pause of {self.pause:g} seconds is not possible. Give 0 or more.")
        if (self.pause or self.check is not None) and self.canary is None and len(self.waves) == 1:
            raise ConfigurationError(
                "A pause and a check come between waves, and there is only one. "
                "Give waves such as 5%,25%,100%, or a canary, as well."
            )
        if self.on_error not in get_args(OnError):
            raise ConfigurationError(f"on_error={self.on_error!r} is not known. Use 'continue' or 'stop'.")
        if self.max_failures is not None and self.on_error == "stop":
            raise ConfigurationError(
                "To stop on the first error and to permit a number of failures exclude each other. Give one of them."
            )
        self._budget(planned=0)

    @property
    def has_budget(self) -> bool:
        """Whether the number of failures is limited."""
        return self.max_failures is not None or self.on_error == "stop"

    def require_canaries(self, keys: Collection[str]) -> None:
        """Raise unless the canaries are among *keys*, the tenants of the run.

        :raises ConfigurationError: if one is not.
        """
        for key in self._named:
            if key not in keys:
                raise ConfigurationError(
                    f"The canary {key!r} is not among the tenants of this run. Correct the key ('tenantkit list' shows "
                    "them), or choose the tenant too."
                )

    def split(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the waves of *keys*, none of them empty: the canaries, then shares of the rest."""
        if isinstance(self.canary, int):
            canaries = list(keys[: self.canary])
        else:
            named = self._named
            canaries = [key for key in keys if key in named]
        first = set(canaries)
        rest = [key for key in keys if key not in first]
        ends = [0, *(ceil(len(rest) * share / 100) for share in self.waves)]
        waves = [canaries, *(rest[start:end] for start, end in pairwise(ends))]
        return [wave for wave in waves if wave]

    def excess(self, failures: int, planned: int) -> str | None:
        """Return why the run must stop after these failures among *planned* tenants; ``None`` if it may go on."""
        budget = self._budget(planned)
        if budget is None or failures <= budget:
            return None
        failed = f"{failures} of {planned} tenant{'' if planned == 1 else 's'} failed"
        return failed if self.on_error == "stop" else f"{failed}, more than the permitted {self.max_failures}"

    def ask(self, wave: Wave) -> str | None:
        """Return why the run must stop after *wave*, according to the check; ``None`` if it may go on."""
        if self.check is None:
            return None
        try:
            with ContainedExits("check="):
                answer = self.check(wave)
            require_done("check", answer)
            is_well = answer is not False
        except Exception as error:  # noqa: BLE001 - a check that raises has failed, with any exception
            return f"the check after wave {wave.number} of {wave.count} failed: {as_clause(reason(error))}"
        return None if is_well else f"the check after wave {wave.number} of {wave.count} returned False"

    @property
    def _named(self) -> Collection[str]:
        return () if self.canary is None or isinstance(self.canary, int) else frozenset(self.canary)

    def _budget(self, planned: int) -> float | None:
        """Return the permitted number of failures; ``None`` for any number."""
        if self.on_error == "stop":
            return 0
        if self.max_failures is None:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(self.max_failures))
        if found is None or (found[2] and float(found[1]) > 100) or (not found[2] and "." in found[1]):  # noqa: PLR2004 - per cent
            raise ConfigurationError(
                f"{self.max_failures!r} is no number of failures. Give one, such as 3, or a share, such as 2%."
            )
        return planned * float(found[1]) / 100 if found[2] else float(found[1])


def _require_waves(waves: Sequence[float]) -> None:
    text = ",".join(f"{share:g}%" for share in waves)
    if any(not 0 < share <= 100 for share in waves):  # noqa: PLR2004 - per cent
        raise ConfigurationError(
            f"Waves of {text or 'nothing'} are not possible. Each is the share of tenants that are done at its end: "
            "more than 0% and at most 100%, such as 5%,25%,100%."
        )
    rising = sorted({*waves, 100})
    if list(waves) != rising:
        raise ConfigurationError(
            f"Waves of {text or 'nothing'} are not possible. Each is the share of tenants that are done at its end, so "
            f"they rise to 100%: {','.join(f'{share:g}%' for share in rising)}."
        )
