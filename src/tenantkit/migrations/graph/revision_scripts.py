"""Alembic's revisions, with checks of their files that Alembic omits, or reports as a KeyError."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.graph.places import shown
from tenantkit.revision_files import RevisionFile, require_complete, several


def read_scripts(config: Config) -> ScriptDirectory:
    """Return the revisions of a graph, with each file loaded once.

    :raises ConfigurationError: if two files have one revision, if a revision follows one that is missing, or if
        ``replay`` is neither True nor False.
    """
    scripts = ScriptDirectory.from_config(config)

    def load() -> list[Script]:
        found = list(scripts._load_revisions())  # noqa: SLF001
        require_complete([*map(_as_file, found)])
        for script in found:
            replays(script)
        return found

    scripts.revision_map = RevisionMap(load)
    _ = scripts.revision_map.heads  # loads them
    return scripts


def replays(script: Script) -> bool:
    """Return whether the revision's variable ``replay`` permits a replay.

    :raises ConfigurationError: if that is neither True nor False.
    """
    replay = getattr(script.module, "replay", True)
    if not isinstance(replay, bool):
        raise ConfigurationError(
            f"In {_file(script)}, replay is {replay!r}. Write replay = False if the revision must run for each tenant, "
            "or leave it out."
        )
    return replay


def _file(script: Script) -> str:
    return shown(Path(script.path))


def _as_file(script: Script) -> RevisionFile:
    return RevisionFile(
        Path(script.path),
        script.revision,
        several(script.down_revision),
        several(script.dependencies),
        tuple(sorted(script.branch_labels)),
    )
