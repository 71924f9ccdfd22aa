"""Alembic's revisions, with checks of their files that Alembic does without, or reports as a KeyError."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.places import shown


def read_scripts(config: Config) -> ScriptDirectory:
    """Return the revisions of a line, each file loaded once.

    :raises ConfigurationError: if two files have one revision, if a revision is behind one that is missing, or if
        ``replay`` is neither True nor False.
    """
    scripts = ScriptDirectory.from_config(config)

    def load() -> list[Script]:
        found = list(scripts._load_revisions())  # noqa: SLF001
        _require_unique(found)
        _require_complete(found)
        for script in found:
            replays(script)
        return found

    scripts.revision_map = RevisionMap(load)
    _ = scripts.revision_map.heads  # loads them
    return scripts


def replays(script: Script) -> bool:
    """Return whether a revision may be replayed, as far as its own variable ``replay`` says.

    :raises ConfigurationError: if that is neither True nor False.
    """
    replay = getattr(script.module, "replay", True)
    if not isinstance(replay, bool):
        raise ConfigurationError(
            f"In {_file(script)}, replay is {replay!r}. Write replay = False if the revision must run for each tenant, "
            "or leave it out."
        )
    return replay


def _require_unique(scripts: Iterable[Script]) -> None:
    files: dict[str, str] = {}
    for script in scripts:
        if (other := files.get(script.revision)) is not None:
            raise ConfigurationError(
                f"{other} and {_file(script)} both have the revision {script.revision!r}. Give one of them another id, "
                "or remove it if it is a copy."
            )
        files[script.revision] = _file(script)


def _require_complete(scripts: Sequence[Script]) -> None:
    known = {script.revision for script in scripts}
    names = known | {label for script in scripts for label in _several(script.module, "branch_labels")}
    for script in scripts:
        for variable, choices in (("down_revision", known), ("depends_on", names)):
            for revision in _several(script.module, variable):
                if revision not in choices:
                    raise ConfigurationError(
                        f"{_file(script)} has {variable} = {revision!r}, and no file in its folder has that revision. "
                        "Restore the file that is missing, or correct the id."
                    )


def _several(module: object, variable: str) -> tuple[str, ...]:
    value = getattr(module, variable, None)
    return (value,) if isinstance(value, str) else tuple(value or ())


def _file(script: Script) -> str:
    return shown(Path(script.path))
