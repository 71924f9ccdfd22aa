"""Lazy commands: their modules are imported on use, so that no command waits for the imports of another."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from tenantkit.cli.display.errors import reporting

MARKUP: Final = "markdown"


class LazyCommand(TyperCommand):
    """A command that imports its function on use. The list of commands needs only its name and summary.

    :param function: ``module.function`` in `tenantkit.cli.commands`.
    :param summary: the first paragraph of the function's docstring.
    :param takes_unknown: whether arguments may look like options that do not exist, such as ``-1``.
    """

    def __init__(
        self, name: str, function: str, summary: str, *, panel: str | None = None, takes_unknown: bool = False
    ) -> None:
        super().__init__(name, help=summary, rich_help_panel=panel, rich_markup_mode=MARKUP)
        self._function = function
        self._settings = {"ignore_unknown_options": True} if takes_unknown else {}

    @override
    def make_context(self, *arguments: Any, **options: Any) -> Any:
        return self.load().make_context(*arguments, **options)

    def load(self) -> Any:
        """Return the command with its parameters and its whole help."""
        module, _, function = self._function.partition(".")
        command = getattr(import_module(f"tenantkit.cli.commands.{module}"), function)
        app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
        app.command(self.name, context_settings=self._settings)(reporting(command))
        return typer.main.get_command(app)


def group_of(lazy: Sequence[LazyCommand]) -> type[TyperGroup]:
    """Return a class for groups that have these commands, before those that were added to the group."""

    class Group(TyperGroup):
        def __init__(self, *, commands: dict[str, Any], **options: Any) -> None:
            own: dict[str, Any] = {str(each.name): each for each in lazy}
            super().__init__(commands=own | commands, **options)

    return Group
