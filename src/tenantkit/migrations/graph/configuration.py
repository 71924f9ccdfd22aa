"""Alembic's configuration for one revision graph."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from alembic.config import Config
from typing_extensions import override

if TYPE_CHECKING:
    from pathlib import Path


class GraphConfig(Config):
    """The options of a graph: its section of ``alembic.ini``, if there is one, and ``[tool.alembic]``.

    Other options have Alembic's defaults, but the script location is always *environment*, and revisions are in
    its folder *name* unless the graph's section has ``version_locations``. With *only*, they are in that folder.
    """

    def __init__(self, environment: Path, name: str, *, only: Path | None = None) -> None:
        def find(file: str) -> Path | None:
            return next((each / file for each in (environment, environment.parent) if (each / file).is_file()), None)

        super().__init__(
            find("alembic.ini"),
            find("pyproject.toml"),
            ini_section=name,
            # The caller decides what is printed; env.py may read -x options, and there are none.
            cmd_opts=Namespace(quiet=True, x=[]),
        )
        self._only = only
        self._folder = str(environment / name)
        self.set_main_option("script_location", str(environment).replace("%", "%%"))
        # The file has been read. An env.py that finds its name would set up logging, which is the application's here.
        self.config_file_name = None

    @override
    def get_version_locations_list(self) -> list[str]:
        if self._only is not None:
            return [str(self._only)]
        # Those of [tool.alembic] belong to another project: two graphs cannot share them.
        named = self.file_config.has_option(self.config_ini_section, "version_locations")
        return (super().get_version_locations_list() if named else None) or [self._folder]

    @override
    def get_prepend_sys_paths_list(self) -> list[str]:
        # Alembic adds them each time that it reads the revisions, so the list would grow in a long-running process.
        return [path for path in super().get_prepend_sys_paths_list() or [] if path not in sys.path]
