"""The options of a run: their types, checks and defaults, and their record in the ledger.

A new option is declared in `Options` and `KINDS`; `Selection`, `Rollout` or `Settings` get it if one has a field of its
name, else `MigrateOptions` has it itself. `tenantkit.cli.options.fleet` takes it from the command line.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, cast, get_args

from tenantkit.arguments import (
    FLAG,
    FUNCTION,
    JSON_OBJECT,
    TEXT,
    TEXTS,
    Kind,
    either,
    instance,
    number,
    one_of,
    optional,
    require_options,
    whole,
)
from tenantkit.exceptions import ConfigurationError
from tenantkit.frozen import freeze
from tenantkit.migrations.planning.phases import Phase
from tenantkit.migrations.planning.rollout import Check, OnError, Rollout
from tenantkit.migrations.planning.selection import Order, Selection
from tenantkit.migrations.results.progress import Progress
from tenantkit.postgres.limits import LOCK_TIMEOUT, Limits

EngineName: TypeAlias = Literal["auto", "replay", "alembic"]

_CORES = os.cpu_count() or 1
_CONNECTIONS = 8
_SILENT = Progress()
_Part = TypeVar("_Part", Selection, Rollout, "Settings")


class Options(TypedDict, total=False):
    """The optional arguments of `migrate`, `downgrade`, `downgrade_run` and `stamp`.

    ``None`` is as if left out.
    """

    tenants: Collection[str] | None
    """Only the tenants with these keys."""
    exclude: Collection[str] | None
    """Not the tenants with these keys."""
    where: Mapping[str, Any] | None
    """Only the tenants whose attributes contain all of these."""
    order: Order | None
    """Who comes first: by ``key``, which is the default, ``newest``, ``oldest`` or ``random``."""
    canary: int | Collection[str] | None
    """The tenants of the first wave: a number of them, in the order of the run, or their keys."""
    waves: Sequence[float] | None
    """In which parts the others follow: how many per cent of them are done by the end of each wave, rising to 100."""
    pause: float | None
    """How many seconds to wait after each wave but the last."""
    check: Check | None
    """Called with each `Wave` but the last, after the pause; if there is only one, before it, with wave 0. If it raises
    or returns ``False``, the run stops."""
    max_failures: int | str | None
    """Stop when more tenants have failed: a number, or a share such as ``"2%"`` of those that have something to do."""
    on_error: OnError | None
    """``continue``, by default, or ``stop`` after the first failure. Tenants that have begun are finished."""
    maintenance: bool | None
    """Whether each tenant that is active is in maintenance while it is migrated."""
    jobs: int | None
    """How many connections replay at most, by default eight: there are more than two as long as that gets more done.
    And how many worker processes run Alembic, by default one for each core. 0 runs Alembic in this process, which a
    debugger can follow."""
    max_connections: int | None
    """How many connections the run may take in all, those for the ledger and for rehearsals counted; by default as many
    as the server has free. There are fewer jobs then; asked for more, the run is refused."""
    engine: EngineName
    """``auto``, by default: what Alembic sent to the first tenants is replayed for the others where that is safe, else
    Alembic runs for each. ``replay`` refuses what cannot be replayed, ``alembic`` replays nothing."""
    lock_timeout: str
    """How long a statement waits for a lock before the tenant is tried again later, as PostgreSQL takes it: ``2s``."""
    statement_timeout: str | None
    """How long a statement may take; the server's own setting by default."""
    phase: Phase | None
    """``expand`` goes only as far as the last revision before the first that contracts, by default all the way.
    Only of `migrate`: the others refuse it."""
    progress: Progress | None
    """Hears of every outcome as it comes."""


_NUMBER = number()
_NUMBERS = Kind(
    "a list of numbers, such as [5, 25, 100]",
    lambda each: isinstance(each, list | tuple) and all(map(_NUMBER.has_type, cast("Sequence[Any]", each))),
    advice=lambda name, each: f"Write {name}=[5, 25, 100] for 5%,25%,100%." if isinstance(each, str) else None,
)
KINDS: Mapping[str, Kind] = {
    name: optional(kind)
    for name, kind in {
        "tenants": TEXTS,
        "exclude": TEXTS,
        "where": JSON_OBJECT,
        "order": one_of(*get_args(Order)),
        "canary": either(whole(), TEXTS),
        "waves": _NUMBERS,
        "pause": _NUMBER,
        "check": FUNCTION,
        "max_failures": either(whole(), TEXT),
        "on_error": one_of(*get_args(OnError)),
        "maintenance": FLAG,
        "jobs": whole(0),
        "max_connections": whole(1),
        "engine": one_of(*get_args(EngineName)),
        "lock_timeout": TEXT,
        "statement_timeout": TEXT,
        "phase": one_of(*get_args(Phase)),
        "progress": instance(Progress, "a tenantkit.migrations.Progress"),
    }.items()
}
"""The valid values of each of `Options`."""

_NOT_RECORDED = frozenset({"tenants", "check", "progress"})
"""Options that the ledger does not keep: it has the tenants themselves, and no objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The engine of a run, its concurrency and its timeouts."""

    jobs: int | None = None
    """How many connections replay, and how many processes run Alembic; 0 for Alembic in this process."""
    engine: EngineName = "auto"
    lock_timeout: str = LOCK_TIMEOUT
    statement_timeout: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in get_args(EngineName):
            raise ConfigurationError(
                f"There is no engine {self.engine!r}. Use one of {', '.join(get_args(EngineName))}."
            )

    @property
    def limits(self) -> Limits:
        """The timeouts of statements and of their waits for locks."""
        return Limits(self.lock_timeout, self.statement_timeout)

    @property
    def processes(self) -> int:
        """Number of processes that run Alembic."""
        return self.jobs or _CORES

    @property
    def connections(self) -> int:
        """Maximum number of connections that replay; `ConcurrencyLimit` finds the useful number."""
        return self.jobs or _CONNECTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions:
    """The options of one run, checked, with a default for each that was left out."""

    selection: Selection
    rollout: Rollout
    settings: Settings
    phase: Phase | None
    maintenance: bool
    max_connections: int | None
    progress: Progress
    recorded: Mapping[str, Any]
    """The options that the ledger keeps."""

    @classmethod
    def of(cls, function: str, options: Options) -> MigrateOptions:
        """Return the options of a run from *options*, the arguments of the function with this name.

        :raises TypeError: if one does not exist, or has the wrong type.
        :raises ConfigurationError: if one has a value that cannot be used, or if two exclude each other.
        """
        require_options(function, options, KINDS)
        given = {name: value for name, value in options.items() if value is not None}
        settings = _part(Settings, given)
        return cls(
            selection=_part(Selection, given),
            rollout=_part(Rollout, given),
            settings=settings,
            phase=options.get("phase"),
            maintenance=options.get("maintenance") or False,
            max_connections=options.get("max_connections"),
            progress=options.get("progress") or _SILENT,
            recorded=asdict(settings)
            | {name: _as_json(value) for name, value in given.items() if name not in _NOT_RECORDED},
        )


def _part(kind: type[_Part], given: Mapping[str, Any]) -> _Part:
    return kind(**{each.name: given[each.name] for each in fields(kind) if each.name in given})


def _as_json(value: Any) -> Any:
    if isinstance(value, str | float | int):
        return value
    return freeze(value if isinstance(value, Mapping) else list(value))
