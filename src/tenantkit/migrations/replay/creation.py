"""Creation of a new tenant's tables by a recorded script, in one round trip.

The first two creations by Alembic are recorded. If both have sent the same statements, the script serves later ones
with the same contents: see `tenantkit.migrations.graph.contents`. Each process reads it once from the registry.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from json import dumps, loads
from typing import TYPE_CHECKING

from tenantkit.databases.base import shares_transaction
from tenantkit.migrations.environment.builder import AlembicBuilder
from tenantkit.migrations.environment.run import run
from tenantkit.migrations.replay.recorder import Recorder
from tenantkit.migrations.replay.script import Script, Step
from tenantkit.postgres.limits import POLITE
from tenantkit.registry import scripts

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from sqlalchemy import Connection

    from tenantkit.deployment import Deployment
    from tenantkit.isolation.target import MigrationTarget
    from tenantkit.lifecycle.builders import Attempt
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

_log = logging.getLogger("tenantkit.migrations")


class ScriptBuilder(AlembicBuilder):
    """Builds placements of *tenancy* by scripts, where it can; raises as `AlembicBuilder` does."""

    def __init__(self, tenancy: Deployment) -> None:
        super().__init__(tenancy)
        self._databases = tenancy.databases
        self._known: dict[str, Script] = {}
        self._refused: set[str] = set()

    def attempt(self, main: Connection, connection: Connection, target: MigrationTarget) -> Attempt | None:
        """Return what builds an empty placement by the recorded script, or records it; ``None`` if nothing does.

        :param main: a connection to the main database; *connection* is to the placement's.
        """
        if self.contents is None or target.column is not None:
            return None
        # Keys to shared tables are only in the main database.
        has_shared = shares_transaction(self._databases, target.placement.database)
        version = (connection.dialect.server_version_info or (0,))[0]
        key = f"{self.contents} {version} {'shared' if has_shared else 'separate'}"
        if (script := self._known.get(key)) is not None:
            return Replayed(script)
        if key in self._refused:
            return None
        return self._look_up(main, key)

    def _look_up(self, main: Connection, key: str) -> Attempt | None:
        found = scripts.read(main, key)
        if found is None or found.state == "recorded":
            return Recording(self.graph, key)
        if found.state == "confirmed" and found.is_protected:
            self._known[key] = script = _load(found.script)
            return Replayed(script)
        if not found.is_protected:
            _log.warning(
                "The recorded script is not used, as a role can change tenantkit.scripts that is no member of its "
                "owner: REVOKE INSERT, UPDATE ON tenantkit.scripts from it, and then DELETE FROM tenantkit.scripts."
            )
        self._refused.add(key)
        return None


@dataclass(frozen=True, slots=True)
class Replayed:
    """Sends a script."""

    script: Script

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables within the caller's transaction."""
        template = self.script.template(target.others, POLITE)
        connection.exec_driver_sql(template.within(target.schema).replace("%", "%%"))

    def keep(self, main: Connection, error: Exception | None) -> None:
        """Do nothing: the script is there already."""


@dataclass(slots=True)
class Recording:
    """Runs Alembic, and records its statements."""

    graph: RevisionGraph
    key: str
    _recorder: Recorder | None = None
    _schema: str = ""

    def __call__(self, connection: Connection, target: MigrationTarget) -> None:
        """Create the tables within the caller's transaction."""
        self._schema = target.schema
        graph = self.graph
        self._recorder = recorder = Recorder(target.schema, environment=graph.environment)

        def steps(current: Heads, _: MigrationContext) -> list[MigrationStep]:
            recorder.before = tuple(sorted(current))
            return [recorder.watch(step) for step in graph.upgrade_steps("heads", current)]

        def applied(*, heads: set[str], **_: object) -> None:
            recorder.applied(tuple(sorted(heads)))

        target = replace(target, in_transaction=True)
        run(connection, graph, target, steps, recorder=recorder, on_version_apply=applied)

    def keep(self, main: Connection, error: Exception | None) -> None:
        """Write the script, in the transaction of *main*; or why there is none, if it failed with *error*."""
        if (recorder := self._recorder) is None:
            return
        if error is not None:
            recorder.refuse(f"a revision fails while it is recorded: {type(error).__name__}")
        script = dump(recorder.script()) if recorder.obstacle is None else ""
        scripts.write(main, self.key, self._schema, script, refusal=recorder.obstacle)


def dump(script: Script) -> str:
    """Return a script that begins with an empty placement, as text."""
    return dumps([[step.revision, step.statements, step.after] for step in script.steps])


def _load(text: str) -> Script:
    steps = (Step(revision, tuple(statements), tuple(after)) for revision, statements, after in loads(text))
    return Script(before=(), steps=tuple(steps))
