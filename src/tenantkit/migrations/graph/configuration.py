"""Alembic's configuration of a line of revisions."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from alembic.config import Config
from typing_extensions import override

if TYPE_CHECKING:
    from pathlib import Path


class GraphConfig(Config):
    """The options of a line: its section of ``alembic.ini``, if there is one, and ``[tool.alembic]``.

    What they leave out has Alembic's defaults, but the script location is always *environment*, and revisions are in
    its folder *name* unless the line's section has ``version_locations``.
    """

    def __init__(self, environment: Path, name: str) -> None:
        def find(file: str) -> Path | None:
            return next((each / file for each in (environment, environment.parent) if (each / file).is_file()), None)

        super().__init__(
            find("alembic.ini"),
            find("pyproject.toml"),
            ini_section=name,
            # What Alembic would print belongs to whoever called us; -x options can be read, and there are none.
            cmd_opts=Namespace(quiet=True, x=[]),
        )
        self._folder = str(environment / name)
        self.set_main_option("script_location", str(environment).replace("%", "%%"))
        # It has been read. An env.py that finds it would set up logging, which is the application's here.
        self.config_file_name = None

    @override
    def get_version_locations_list(self) -> list[str]:
        # Those of [tool.alembic] are another project's: they cannot be those of two lines.
        named = self.file_config.has_option(self.config_ini_section, "version_locations")
        return (super().get_version_locations_list() if named else None) or [self._folder]

    @override
    def get_prepend_sys_paths_list(self) -> list[str]:
        # Alembic adds them each time that it reads the revisions, which a long-running process does again and again.
        return [path for path in super().get_prepend_sys_paths_list() or [] if path not in sys.path]
