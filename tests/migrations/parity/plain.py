"""Plain Alembic, for comparison: one schema with the placeholder's own name, also on the `search_path`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

_ENV = """
from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"], target_metadata=attributes["metadata"], version_table_schema="tenant",
    **attributes["options"],
)
with context.begin_transaction():
    context.run_migrations()
"""


class Plain:
    """An application of one tenant with the schema ``tenant``; *options* are those of its env.py."""

    def __init__(
        self, url: sa.URL, revisions: Path, metadata: sa.MetaData, *, imports: str = "", **options: Any
    ) -> None:
        self.url = url
        folder = revisions.parent / "plain"
        folder.mkdir(exist_ok=True)
        (folder / "env.py").write_text(f"{imports}\n{_ENV}")
        self._config = Config()
        self._config.attributes.update(metadata=metadata, options=options)
        for option, value in {
            "script_location": str(folder),
            "version_locations": str(revisions),
            "path_separator": "newline",
            "my_setting": "configured",
        }.items():
            self._config.set_main_option(option, value)
        with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA tenant")

    def upgrade(self, target: str) -> None:
        """Upgrade to *target*."""
        self._run(command.upgrade, target)

    def downgrade(self, target: str) -> None:
        """Downgrade to *target*."""
        self._run(command.downgrade, target)

    def stamp(self, target: str, *, purge: bool = False) -> None:
        """Record *target*, one or several separated by commas; with *purge*, whatever the version table has."""
        self._run(lambda config, revisions: command.stamp(config, revisions.split(","), purge=purge), target)

    def _run(self, run: Callable[[Config, str], None], target: str) -> None:
        engine = sa.create_engine(self.url, connect_args={"options": "-csearch_path=tenant"}, poolclass=sa.NullPool)
        with engine.connect() as connection:
            self._config.attributes["connection"] = connection
            run(self._config, target)
            connection.commit()
