"""Write docs/reference/cli.md from the command line's own help: ``python docs/cli_reference.py``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tenantkit.cli import app

FILE = Path(__file__).parent / "reference" / "cli.md"

_INTRODUCTION = """\
# Command line

{help}

Data goes to stdout, as JSON with `--json`; progress and errors go to stderr. The exit code is 0 after success, 1 if
something failed (with one line that says what to do, and the traceback with `-v`), and 2 for a usage error. After
Ctrl-C (SIGINT) it is 130, after SIGTERM 143, after SIGHUP 129. `tenantkit --install-completion` installs the completion
of commands and keys in your shell.
"""


def render() -> str:
    """Return the reference, in Markdown."""
    root = typer.main.get_command(app)
    sections = [_INTRODUCTION.format(help=inspect.cleandoc(root.help or ""))]
    sections += [_render(path, command) for path, command in _walk(root, "tenantkit")]
    return "\n".join(sections)


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _walk(below, f"{path} {name}")
    else:
        yield path, command.load()


def _render(path: str, command: Any) -> str:
    parameters = [f"- {_names(parameter)}: {parameter.help}" for parameter in command.params]
    return f"## {path}\n\n{inspect.cleandoc(command.help)}\n\n**Parameters**\n\n" + "\n".join(parameters) + "\n"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    return ", ".join(f"`{name}`" for name in parameter.opts)


if __name__ == "__main__":
    FILE.write_text(render())
