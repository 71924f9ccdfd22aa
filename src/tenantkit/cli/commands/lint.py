"""The command that checks revisions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from tenantkit.cli import pyproject
from tenantkit.cli.application import application, current_folder
from tenantkit.cli.display.output import err, out, print_json
from tenantkit.cli.options.common import Json
from tenantkit.exceptions import ConfigurationError
from tenantkit.lint import Finding, Report
from tenantkit.lint import lint as look_for

_SETTINGS = ("enable", "ignore", "since")


def lint(
    context: typer.Context,
    revisions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REVISION|PATH]...",
            help="Which revisions: ids (shared:ID or tenant:ID where both sides have one), files or folders. All by "
            "default.",
            show_default=False,
        ),
    ] = None,
    *,
    since: Annotated[
        list[str] | None,
        typer.Option(
            "--since",
            metavar="REVISION",
            help="Only revisions after this one. Repeat for the other side.",
            show_default=False,
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="RULE",
            help="Leave out this rule, tenantkit's or squawk's. Repeat for more.",
            show_default=False,
        ),
    ] = None,
    github: Annotated[bool, typer.Option("--github", metavar="", help="Print annotations for GitHub Actions.")] = False,
    as_json: Json = False,
) -> None:
    """Check revisions for problems in a fleet, without a database.

    The exit code is 1 if there are findings. The rules `TK001` and so on are about fleets; squawk finds the dangers of
    PostgreSQL itself. `pip install 'tenantkit[lint]'` installs squawk, and the parser that reads SQL. A comment
    `# tenantkit: noqa: TK003` silences a rule in a line, or, above the imports, in the file. In `pyproject.toml`,
    `[tool.tenantkit.lint]` may set `ignore`, `since` (used when no revision is named) and `enable`, for rules that are
    off by default: of squawk, and `TK012`.

    **Examples**

    - `tenantkit lint`
    - `tenantkit lint --since 8d3f migrations/tenant`
    - `tenantkit lint --json | jq -r '.findings[].path'`
    """
    here = current_folder()
    settings = _settings(here)
    # Before the application is loaded, which may change the folder.
    named = [str(Path(each).resolve()) if Path(each).exists() else each for each in revisions or ()]
    with application(context) as tenancy, redirect_stdout(sys.stderr):  # the output of revisions is no finding
        report = look_for(
            tenancy,
            named,
            since=since or ([] if named else settings["since"]),
            ignore=[*(ignore or ()), *settings["ignore"]],
            enable=settings["enable"],
        )
    if as_json:
        print_json(
            {
                "revisions": report.revisions,
                "squawk": report.has_squawk,
                "findings": [_as_json(each, here) for each in report.findings],
            }
        )
    else:
        for finding in report.findings:
            out.print(_as_annotation(finding, here) if github else _as_line(finding, here), soft_wrap=True)
    _summarize(report)
    for each in report.unseen:
        place = f"{os.path.relpath(each.path, here)}:{each.line}"
        err.print(f"{place}: not checked further, because it works outside of its connection.", soft_wrap=True)
    if report.findings:
        raise typer.Exit(1)


def _settings(start: Path) -> dict[str, Sequence[str]]:
    file, given = pyproject.find(start, "lint") or (start, {})
    for name, value in given.items():
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"In {file}, [tool.tenantkit.lint] has {name!r}. It may have {', '.join(_SETTINGS)}."
            )
        if not (isinstance(value, list) and {*map(type, value)} <= {str}):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            raise ConfigurationError(f'In {file}, [tool.tenantkit.lint] {name} is no list of strings. Write ["..."].')
    return {name: given.get(name, []) for name in _SETTINGS}


def _as_line(finding: Finding, here: Path) -> Text:
    return Text.assemble(
        (os.path.relpath(finding.path, here), "bold"),
        f":{finding.line}: ",
        (finding.code, "bold red"),
        " ",
        finding.message,
    )


def _as_annotation(finding: Finding, here: Path) -> str:
    place = f"file={_escape(os.path.relpath(finding.path, here))},line={finding.line},title={finding.code}"
    return f"::error {place}::{finding.message.replace('%', '%25')}"


def _escape(value: str) -> str:
    """Return *value* with the escapes of a property in GitHub's workflow commands."""
    for character in "%:,":
        value = value.replace(character, f"%{ord(character):02X}")
    return value


def _as_json(finding: Finding, here: Path) -> dict[str, Any]:
    return {
        "path": os.path.relpath(finding.path, here),
        "line": finding.line,
        "code": finding.code,
        "message": finding.message,
    }


def _summarize(report: Report) -> None:
    found, where = len(report.findings), f"in {_count(report.revisions, 'revision')}"
    if report.has_squawk:
        summary = f"{_count(found, 'finding') if found else 'No findings'} {where}."
    else:
        summary = (
            f"tenantkit's own rules have {_count(found, 'finding')} {where}. The dangers of PostgreSQL itself were not "
            "checked, because squawk is not installed: pip install 'tenantkit[lint]'."
        )
    err.print(summary, soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
