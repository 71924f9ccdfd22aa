"""Parameters that several commands share."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

import typer

from tenantkit.cli.application import complete_key
from tenantkit.cli.display.errors import UsageError


def was_given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def any_was_given(context: typer.Context, *, besides: Collection[str]) -> bool:
    """Return whether a parameter, except those in *besides*, was given on the command line."""
    return any(was_given(context, each.name or "") for each in context.command.params if each.name not in besides)


def refuse_others(context: typer.Context, option: str, *, allowed: Collection[str] = ("target",)) -> None:
    """Raise if options were given that *option* excludes.

    :raises UsageError: if so.
    """
    fine = {*allowed, "yes", "as_json", "as_events", "shared", "shared_only"}
    parameters = [(each.name or "", each.opts[0]) for each in context.command.params]
    others = [flag for name, flag in parameters if name not in fine and was_given(context, name)]
    if others:
        names = ", ".join(others)
        raise UsageError(
            f"{option} is about the shared tables, and {names} about tenants. Leave out {option} or these."
        )


Key: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEY", help="The tenant's key.", show_default=False, autocompletion=complete_key)
]
OptionalKey: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[KEY]", help="A tenant's key.", show_default=False, autocompletion=complete_key),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON to stdout.")]
Events: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--events",
        metavar="",
        help="Print events to stdout as lines of JSON; the last one is the report.",
    ),
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Show the steps of each tenant, and change nothing.")
]
DryRunOfOne: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Show the steps and the obstacles, and change nothing.")
]
Patience: TypeAlias = Annotated[
    float,
    typer.Option("--patience", metavar="SECONDS", min=0, help="How long to wait for transactions that use the tables."),
]
Shared: TypeAlias = Annotated[bool, typer.Option("--shared", metavar="", help="Only the shared tables, no tenant.")]
Sql: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--sql",
        metavar="",
        help="Print the SQL that would be sent, which rehearsals find out and roll back, and change nothing.",
    ),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask for confirmation.")]
Attributes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME=VALUE",
        help="An attribute; a value that is not JSON is text. Repeat for more.",
        show_default=False,
    ),
]
Tenants: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--tenants",
        "-t",
        metavar="KEYS",
        help="Only these tenants: keys, separated by commas. Repeat for more.",
        show_default=False,
    ),
]
JOBS: Any = typer.Option(
    "--jobs",
    "-j",
    metavar="N",
    min=0,
    help="Maximum number of connections that replay, by default 8, or of processes that run Alembic, by default one "
    "for each core. 0 runs Alembic in this process, which a debugger can follow.",
    show_default=False,
)
Jobs: TypeAlias = Annotated[int | None, JOBS]

MigratePhase: TypeAlias = Annotated[
    Literal["expand", "contract"] | None,
    typer.Option(
        "--phase",
        help="expand: stop before the first revision that contracts, before a deployment. contract: run all revisions, "
        "after it, as without a phase.",
        show_default=False,
    ),
]


_OF_PATTERNS = frozenset("*?[]{}%")
"""Characters of patterns in a shell or SQL, which no key has."""


def parse_attributes(given: list[str] | None) -> dict[str, Any]:
    """Return attributes given as ``name=value``.

    :raises UsageError: if one has no ``=``, no name, or a value that is nested too deeply.
    """
    attributes: dict[str, Any] = {}
    for each in given or []:
        name, separator, value = each.partition("=")
        if not separator or not name:
            raise UsageError(f"{each!r} is no attribute. Write it as name=value.")
        attributes[name] = _parse_value(value)
    return attributes


def _parse_value(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise UsageError("The value of an attribute is nested too deeply.") from error
    except ValueError:
        return value


def _refuse_constant(name: str) -> NoReturn:
    """Leave ``NaN`` and ``Infinity``, which JSON does not have and PostgreSQL refuses, as text."""
    raise ValueError(name)


def parse_keys(given: Sequence[str] | None, *, option: str = "--tenants") -> list[str] | None:
    """Return keys given as ``a,b``, in one option or several; ``None`` if none were.

    :raises UsageError: if the list is empty, or if one is a pattern.
    """
    if not given:
        return None
    keys = [key for key in (part.strip() for each in given for part in each.split(",")) if key]
    if not keys:
        raise UsageError(f"{option} names no tenant. Give keys separated by commas, or leave it out.")
    for key in keys:
        if set(key) & _OF_PATTERNS:
            raise UsageError(
                f"{key!r} is a pattern, and {option} takes whole keys. 'tenantkit list --search TEXT' finds them."
            )
    return keys
