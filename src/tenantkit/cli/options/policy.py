"""The parameters of commands that go through a fleet: for whom, in which waves, over how many connections."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints

from tenantkit.cli.options.common import (
    Engine,
    Jobs,
    LockTimeout,
    MaxConnections,
    StatementTimeout,
    parse_attributes,
    parse_keys,
)
from tenantkit.cli.options.rollout import (
    Canary,
    Check,
    Exclude,
    Maintenance,
    MaxFailures,
    OnError,
    Order,
    Pause,
    Waves,
    Where,
    parse_canary,
    parse_check,
    parse_waves,
    require_sense,
)
from tenantkit.migrations import Options
from tenantkit.postgres.limits import LOCK_TIMEOUT


def policy(
    *,
    exclude: Exclude = None,
    where: Where = None,
    order: Order = "key",
    canary: Canary = None,
    wave: Waves = None,
    pause: Pause = 0,
    check: Check = None,
    max_failures: MaxFailures = None,
    on_error: OnError = "continue",
    maintenance: Maintenance = False,
    jobs: Jobs = None,
    max_connections: MaxConnections = None,
    engine: Engine = "auto",
    lock_timeout: LockTimeout = LOCK_TIMEOUT,
    statement_timeout: StatementTimeout = None,
) -> Options:
    """Return what was given as `tenantkit.migrations` takes it.

    :raises UsageError: if it makes no sense.
    """
    options: Options = {
        "exclude": parse_keys(exclude, option="--exclude"),
        "where": parse_attributes(where),
        "order": order,
        "canary": parse_canary(canary),
        "waves": parse_waves(wave),
        "pause": pause,
        "check": parse_check(check),
        "max_failures": max_failures,
        "on_error": on_error,
        "maintenance": maintenance,
        "jobs": jobs,
        "max_connections": max_connections,
        "engine": engine,
        "lock_timeout": lock_timeout,
        "statement_timeout": statement_timeout,
    }
    require_sense(options)
    return options


def takes_policy(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command*, instead of its parameter ``options``, those of `policy`, and hand it what they come to."""
    theirs = _parameters(policy)

    @wraps(command)
    def commanded(**given: Any) -> None:
        options = policy(**{each.name: given.pop(each.name) for each in theirs})
        command(**given, options=options)

    parameters: list[inspect.Parameter] = []
    for each in _parameters(command):
        parameters += theirs if each.name == "options" else [each]
    commanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    commanded.__annotations__ = {}  # which Typer looks at besides, and cannot understand
    return commanded


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    annotations = get_type_hints(function, include_extras=True)
    return [each.replace(annotation=annotations[each.name]) for each in inspect.signature(function).parameters.values()]
