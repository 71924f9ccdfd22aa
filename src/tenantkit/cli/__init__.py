"""The command line: a thin skin over `tenantkit.Tenancy` and `tenantkit.migrations`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from tenantkit.cancellation import handling
from tenantkit.cli.application import Settings
from tenantkit.cli.display.errors import print_error
from tenantkit.cli.lazy import MARKUP, group_of
from tenantkit.cli.table import COMMANDS, DOMAIN_COMMANDS, RUNS_COMMANDS
from tenantkit.exceptions.base import as_clause

_HELP = """
Manage the tenants of an application.

The application is found by `-a package.module:attribute` or `-a path/to/module.py:attribute`, which names its
`Tenancy`, its `AsyncTenancy`, or a function that returns one; by the environment variable `TENANTKIT_APP`; or by
`pyproject.toml`:

    [tool.tenantkit]
    app = "package.module:attribute"
"""

app = typer.Typer(
    name="tenantkit",
    cls=group_of(COMMANDS),
    help=_HELP,
    rich_markup_mode=MARKUP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`-a` and `-v` may stand before or behind the command.",
)
_domain = typer.Typer(
    cls=group_of(DOMAIN_COMMANDS), no_args_is_help=True, help="List, add and remove the tenants' domains."
)
_runs = typer.Typer(
    cls=group_of(RUNS_COMMANDS), no_args_is_help=True, help="Show earlier runs of migrate, downgrade and stamp."
)
app.add_typer(_domain, name="domain", rich_help_panel="Tenants")
app.add_typer(_runs, name="runs", rich_help_panel="Migrations")

_INTERRUPTED = 130
"""Typer's exit code after any `KeyboardInterrupt`."""


def main() -> None:
    """Run the command line, and end the process with its exit code: 128 and its number if a signal interrupted it."""
    if (configure := getattr(sys.stdout, "reconfigure", None)) is not None:
        configure(errors="backslashreplace")  # as stderr is: not every encoding has every tenant's name
    with handling() as cancellation:
        try:
            with cancellation.interruptible():
                code = _run()
        except KeyboardInterrupt:
            code = _INTERRUPTED
    if code == _INTERRUPTED and cancellation.number is not None:
        code = 128 + cancellation.number
        # CPython ends with SIGINT, whatever the code, if the exception has left code that was run from a string, as
        # dataclasses do, and no other was run since: see run_eval_code_obj() in its pythonrun.c.
        exec("", {})  # noqa: S102 - empty
    sys.exit(code)


def _run() -> int:
    """Run the command line, and report a usage error in one line, like all errors."""
    try:
        code: int = app(args=globals_first(sys.argv[1:]), prog_name="tenantkit", standalone_mode=False)
    except typer.TyperException as error:
        if message := error.format_message():  # none if it was help that was printed
            context: typer.Context | None = getattr(error, "ctx", None)
            path = context.command_path if context else "tenantkit"
            print_error(f"{as_clause(message)}. See '{path} --help'.")
        code = error.exit_code
    return code


def globals_first(arguments: Sequence[str]) -> list[str]:
    """Return *arguments* with the options that every command has in front, where Typer takes them."""
    first: list[str] = []
    rest = iter(arguments)
    others: list[str] = []
    for argument in rest:
        if argument == "--":
            others += [argument, *rest]
        elif argument in {"-a", "--app"}:
            if (value := next(rest, None)) is None:
                return [argument]  # for the error that it needs one; the command would be taken for it
            first += [argument, value]
        elif argument in {"-v", "--verbose"} or argument.startswith("--app="):
            first.append(argument)
        else:
            others.append(argument)
    return first + others


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if wanted:
        typer.echo(f"tenantkit {version_of('tenantkit')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    application: Annotated[
        str | None,
        typer.Option(
            "--app",
            "-a",
            metavar="MODULE:ATTRIBUTE",
            envvar="TENANTKIT_APP",
            help="The application's Tenancy, as package.module:attribute.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", metavar="", help="Show tracebacks.")] = False,
    version: Annotated[  # noqa: ARG001 - Typer calls _print_version
        bool,
        typer.Option(
            "--version", metavar="", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options of every command."""
    context.obj = Settings(application, verbose)
