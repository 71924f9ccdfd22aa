"""Limits of tenants: settings that each of a tenant's transactions begins with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from tenantkit.arguments import FUNCTION, Kind, either, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.tenant import Tenant

TenantLimits: TypeAlias = "Mapping[str, str | int] | Callable[[Tenant], Mapping[str, str | int]]"
"""The limits of all tenants, or a function that returns those of one: see `LIMITS`."""

LIMITS = (
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "work_mem",
    "hash_mem_multiplier",
    "max_parallel_workers_per_gather",
)
"""The settings that can be limits, each with a value as PostgreSQL writes it: ``"30s"``, ``"64MB"``, ``2``.

``transaction_timeout`` needs PostgreSQL 17.
"""

_VALUE = re.compile(r"[0-9]+(\.[0-9]+)? ?(us|ms|s|min|h|d|B|kB|MB|GB|TB)?")
_MAPPING = Kind("a mapping", lambda each: isinstance(each, Mapping))


def limits_function(given: TenantLimits | None) -> Callable[[Tenant], tuple[tuple[str, str], ...]] | None:
    """Return the function from a tenant to its limits, as settings of its transactions; ``None`` without limits.

    The function raises `ConfigurationError` for a limit that cannot be used.

    :raises ConfigurationError: if *given* is a mapping with such a limit.
    """
    if given is None:
        return None
    require(limits=(given, either(_MAPPING, FUNCTION)))
    if isinstance(given, Mapping):
        settings = _settings(given)
        return lambda _tenant: settings
    return lambda tenant: _settings(given(tenant))


def _settings(limits: Any) -> tuple[tuple[str, str], ...]:
    require(limits=(limits, _MAPPING))
    given = cast("Mapping[Any, Any]", limits)
    for name, value in given.items():
        if name not in LIMITS:
            raise ConfigurationError(f"limits= has {name!r}, which is none. Choose among {', '.join(LIMITS)}.")
        if isinstance(value, bool) or not isinstance(value, str | int) or not _VALUE.fullmatch(str(value)):
            raise ConfigurationError(
                f"limits= has {name}={value!r}. Give a number with or without a unit, such as '30s', '64MB' or 2."
            )
    return tuple((name, str(value)) for name, value in given.items())
