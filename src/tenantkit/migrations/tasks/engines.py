"""The engines of an executor, which has connections to one database at a time.

Only where that is always the same one, several threads may share them.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine


class Engines:
    """Opens the engine of a database when an executor comes to it, and closes that of the database before."""

    def __init__(self, open_one: Callable[[str], Engine]) -> None:
        """Open engines by *open_one*, which receives the key of a database."""
        self._open = open_one
        self._database: str | None = None
        self._engine: Engine | None = None
        self._hooks: list[Callable[[Engine], object]] = []

    def prepare(self, hook: Callable[[Engine], object]) -> None:
        """Have *hook* called with each engine that is opened."""
        self._hooks.append(hook)

    def at(self, database: str) -> Engine:
        """Return the engine of *database*."""
        if self._engine is None or database != self._database:
            self.dispose()
            self._engine, self._database = self._open(database), database
            for hook in self._hooks:
                hook(self._engine)
        return self._engine

    def dispose(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()
