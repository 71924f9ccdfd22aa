"""What the options of migrations take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from tenantkit.arguments import (
    FLAG,
    FUNCTION,
    JSON_OBJECT,
    TEXT,
    TEXTS,
    Kind,
    either,
    number,
    one_of,
    optional,
    require_options,
    whole,
)
from tenantkit.migrations.planning.phases import Phase
from tenantkit.migrations.planning.rollout import OnError
from tenantkit.migrations.planning.selection import Order
from tenantkit.migrations.runs.migrator import EngineName

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
        "progress": Kind("an object with started() and finished()", lambda each: hasattr(each, "finished")),
    }.items()
}
"""What each of `tenantkit.migrations.Options` takes."""


def check_options(function: str, options: Mapping[str, Any]) -> None:
    """Raise unless these are options that the function with this name can use.

    :raises TypeError: if one does not exist, or has the wrong type.
    :raises ConfigurationError: if one has a value that cannot be used.
    """
    require_options(function, options, KINDS)
