"""Alembic's revisions, with checks of their files that Alembic omits, or reports as a KeyError."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.graph.places import shown
from tenantkit.naming import first_lines
from tenantkit.revision_files import RevisionFile, require_complete, several


def read_scripts(config: Config) -> ScriptDirectory:
    """Return the revisions of a graph, with each file loaded once.

    :raises ConfigurationError: if two files have one revision, if a revision follows one that is missing, if one is
        there that a baseline has replaced, or if ``replay`` is neither True nor False.
    """
    scripts = ScriptDirectory.from_config(config)

    def load() -> list[Script]:
        found = list(scripts._load_revisions())  # noqa: SLF001
        require_complete([*map(_as_file, found)])
        for script in found:
            replays(script)
        _require_replaced(found)
        return found

    scripts.revision_map = RevisionMap(load)
    _ = scripts.revision_map.heads  # loads them
    return scripts


def baselines_of(scripts: Iterable[Script]) -> dict[str, str]:
    """Return the baseline that has replaced each revision; see `tenantkit.baseline`."""
    return {each: script.revision for script in scripts for each in several(getattr(script.module, "replaces", None))}


def _require_replaced(scripts: Collection[Script]) -> None:
    """Raise if a revision is there that a baseline has replaced: it would run for tenants that have its result."""
    baselines = baselines_of(scripts)
    if again := [script for script in scripts if script.revision in baselines]:
        raise ConfigurationError(
            f"{first_lines(map(_file, again))} is there, and the baseline {baselines[again[0].revision]} has replaced "
            "it. Delete it, if a merge has brought it back; after a squash that was interrupted, take back the folder "
            "from version control."
        )


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
