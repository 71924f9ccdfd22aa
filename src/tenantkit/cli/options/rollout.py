"""The parameters that say for whom a run is, in which waves it goes, and when it stops."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import typer

from tenantkit.cli.display.errors import UsageError
from tenantkit.cli.options.common import parse_keys
from tenantkit.exceptions import ConfigurationError, TenantkitError
from tenantkit.migrations import Options, Wave
from tenantkit.migrations.runs import commands as runs

Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="KEYS",
        help="Not these tenants: keys, separated by commas. Repeat for more.",
        show_default=False,
    ),
]
Where: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only tenants with this attribute; the value is read as for `create --attribute`. Repeat for more.",
        show_default=False,
    ),
]
Order: TypeAlias = Annotated[
    Literal["key", "newest", "oldest", "random"], typer.Option("--order", help="Which tenants come first.")
]
Canary: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--canary",
        metavar="KEYS|N",
        help="These tenants, or this number of tenants, go first, in a wave of their own. Repeat for more keys.",
        show_default=False,
    ),
]
Waves: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--wave",
        metavar="SHARES",
        help="How many of the tenants are done by the end of each wave: 5%,25%,100%.",
        show_default=False,
    ),
]
Pause: TypeAlias = Annotated[
    float, typer.Option("--pause", metavar="SECONDS", help="How long to wait between waves.", show_default=False)
]
Check: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="COMMAND",
        help="Run this between waves, after the pause, and stop if its exit code is not 0. It is told TENANTKIT_RUN, "
        "TENANTKIT_WAVE, TENANTKIT_WAVES, TENANTKIT_MIGRATED and TENANTKIT_FAILED.",
        show_default=False,
    ),
]
MaxFailures: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--max-failures",
        metavar="N|SHARE",
        help="Stop when more tenants have failed: a number, or a share of the tenants such as 2%.",
        show_default=False,
    ),
]
OnError: TypeAlias = Annotated[
    Literal["continue", "stop"],
    typer.Option("--on-error", help="Stop after the first failure, or continue with the others."),
]
Maintenance: TypeAlias = Annotated[
    bool,
    typer.Option("--maintenance", metavar="", help="Keep each tenant in maintenance while it is migrated."),
]


class CheckFailedError(TenantkitError):
    """The command that looks whether all is well between waves has said that it is not."""


def parse_canary(given: Sequence[str] | None) -> int | list[str] | None:
    """Return how many, or which, go first.

    :raises UsageError: if the list is empty.
    """
    if given and len(given) == 1 and re.fullmatch(r"\s*-?\d+\s*", given[0]):
        return int(given[0])
    return parse_keys(given, option="--canary")


def parse_waves(given: str | None) -> list[float] | None:
    """Return the shares in ``5%,25%,100%``.

    :raises UsageError: if one is none.
    """
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d+(\.\d+)?%", part):
            raise UsageError(f"{part!r} is no share for --wave. Write shares that rise to 100%, such as 5%,25%,100%.")
    return [float(part.removesuffix("%")) for part in parts]


def parse_check(command: str | None) -> Callable[[Wave], None] | None:
    """Return what runs *command* in a shell, with what it prints on stderr, and raises if it fails.

    :raises UsageError: if there is nothing to run.
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


def require_sense(options: Options) -> None:
    """Refuse options that make no sense as what they are: bad usage.

    :raises UsageError: if so.
    """
    try:
        runs.policy(options)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
