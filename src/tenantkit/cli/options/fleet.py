"""The options of `tenantkit.migrations` on the command line."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, cast

import typer

from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.options.common import JOBS, parse_attributes, parse_keys
from tenantkit.exceptions import ConfigurationError, TenantkitError
from tenantkit.migrations import Options, Wave
from tenantkit.migrations.options import EngineName, MigrateOptions
from tenantkit.migrations.planning.rollout import OnError
from tenantkit.migrations.planning.selection import Order
from tenantkit.postgres.limits import LOCK_TIMEOUT


class CheckFailedError(TenantkitError):
    """The command of ``--check`` has failed after a wave."""


def parse_canary(given: Sequence[str] | None) -> int | list[str] | None:
    """Return the number, or the keys, of the canaries.

    :raises UsageError: if the list is empty.
    """
    if given and len(given) == 1 and re.fullmatch(r"\s*-?\d+\s*", given[0]):
        return int(given[0])
    return parse_keys(given, option="--canary")


def parse_waves(given: str | None) -> list[float] | None:
    """Return the shares in ``5%,25%,100%``.

    :raises UsageError: if one is not a share.
    """
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d+(\.\d+)?%", part):
            raise UsageError(f"{part!r} is no share for --wave. Write shares that rise to 100%, such as 5%,25%,100%.")
    return [float(part.removesuffix("%")) for part in parts]


def parse_check(command: str | None) -> Callable[[Wave], None] | None:
    """Return a function that runs *command* in a shell, with its output on stderr, and raises if it fails.

    :raises UsageError: if *command* is empty.
    """
    if command is None:
        return None
    if not command.strip():
        raise UsageError("--check names no command. Give one whose exit code is 0 if all is well, or leave it out.")

    def check(wave: Wave) -> None:
        facts = {
            "RUN": wave.run_id,
            "WAVE": wave.number,
            "WAVES": wave.count,
            "MIGRATED": wave.done,
            "FAILED": len(wave.failures),
        }
        environment = {f"TENANTKIT_{name}": str(value) for name, value in facts.items()}
        done = subprocess.run(command, shell=True, env={**os.environ, **environment}, stdout=2, check=False)  # noqa: S602 - it is the user's own
        if done.returncode:
            raise CheckFailedError(f"{command!r} ended with exit code {done.returncode}")

    return check


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of `tenantkit.migrations.Options` on the command line."""

    type: Any
    option: Any
    default: Any = None
    parse: Callable[[Any], Any] = lambda given: given
    """Converts the value from Typer to that of the option."""


def _option(flag: str, help: str, metavar: str | None = None, *, show_default: bool = False, **more: Any) -> Any:  # noqa: A002 - as Typer calls it
    return typer.Option(flag, help=help, metavar=metavar, show_default=show_default, **more)


PARAMETERS: Mapping[str, Parameter] = {
    "exclude": Parameter(
        list[str] | None,
        _option("--exclude", "All but these tenants: keys, separated by commas. Repeat for more.", "KEYS"),
        parse=partial(parse_keys, option="--exclude"),
    ),
    "where": Parameter(
        list[str] | None,
        _option(
            "--where",
            "Only tenants with this attribute; the value is as for `create --attribute`. Repeat for more.",
            "NAME=VALUE",
        ),
        parse=parse_attributes,
    ),
    "order": Parameter(Order, _option("--order", "The order of the tenants.", show_default=True), "key"),
    "canary": Parameter(
        list[str] | None,
        _option(
            "--canary",
            "The tenants, or the number of tenants, of the first wave. Repeat for more keys.",
            "KEYS|N",
        ),
        parse=parse_canary,
    ),
    "waves": Parameter(
        str | None,
        _option("--wave", "The share of tenants that are done at the end of each wave: 5%,25%,100%.", "SHARES"),
        parse=parse_waves,
    ),
    "pause": Parameter(float, _option("--pause", "The pause between waves.", "SECONDS"), 0),
    "check": Parameter(
        str | None,
        _option(
            "--check",
            "Run this command between waves, after the pause, and stop if its exit code is not 0. Its environment has "
            "TENANTKIT_RUN, TENANTKIT_WAVE, TENANTKIT_WAVES, TENANTKIT_MIGRATED and TENANTKIT_FAILED.",
            "COMMAND",
        ),
        parse=parse_check,
    ),
    "max_failures": Parameter(
        str | None,
        _option(
            "--max-failures",
            "Stop when more tenants have failed: a number, or a share of the tenants such as 2%.",
            "N|SHARE",
        ),
    ),
    "on_error": Parameter(
        OnError,
        _option("--on-error", "Stop after the first failure, or continue with the others.", show_default=True),
        "continue",
    ),
    "maintenance": Parameter(
        bool,
        _option("--maintenance", "Keep each tenant in maintenance while it is migrated.", ""),
        default=False,
    ),
    "jobs": Parameter(int | None, JOBS),
    "max_connections": Parameter(
        int | None,
        _option(
            "--max-connections",
            "The maximum number of connections, including at least two for the run itself.",
            "N",
            min=3,
        ),
    ),
    "engine": Parameter(
        EngineName,
        _option(
            "--engine",
            "alembic: run Alembic for each tenant. replay: send the statements of the first tenants to the others. "
            "auto: replay where that is safe.",
            show_default=True,
        ),
        "auto",
    ),
    "lock_timeout": Parameter(
        str,
        _option(
            "--lock-timeout",
            "The time to wait for a lock before the tenant is retried later.",
            "TIME",
            show_default=True,
        ),
        LOCK_TIMEOUT,
    ),
    "statement_timeout": Parameter(
        str | None,
        _option(
            "--statement-timeout",
            "The maximum time of a replayed statement; by default, the server's setting.",
            "TIME",
        ),
    ),
}


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``options`` of *command* by all of `PARAMETERS`, and pass it their values.

    :raises UsageError: when the command runs, if the options are not valid.
    """

    @wraps(command)
    def commanded(**given: Any) -> None:
        options = cast("Options", {name: each.parse(given.pop(name)) for name, each in PARAMETERS.items()})
        try:
            MigrateOptions.of(command.__name__, options)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        command(**given, options=options)

    keyword = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    theirs = [
        keyword(name, default=each.default, annotation=Annotated[each.type, each.option])
        for name, each in PARAMETERS.items()
    ]
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command, eval_str=True).parameters.values():
        parameters += theirs if each.name == "options" else [each]
    commanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    commanded.__annotations__ = {}  # of the command, which Typer would look at besides
    return commanded
