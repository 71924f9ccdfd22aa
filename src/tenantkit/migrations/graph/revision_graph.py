"""The two graphs of revisions, shared and tenant, as Alembic uses them."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError

from tenantkit.exceptions import ConfigurationError, TenantkitError
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.graph.configuration import GraphConfig
from tenantkit.migrations.graph.places import find_place
from tenantkit.migrations.graph.revision_scripts import baselines_of, read_scripts
from tenantkit.postgres.errors import reason
from tenantkit.revision_files import included, several
from tenantkit.user_code import ContainedExits, get_place, set_place, with_place

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep
    from alembic.script import Script, ScriptDirectory

Scope: TypeAlias = Literal["shared", "tenant"]
Command: TypeAlias = Literal["migrate", "downgrade", "stamp"]
_RELATIVE = re.compile(r"(?:(.+?)@)?(\w+)?[+-]\d+")
"""A relative target of Alembic: a number of steps, optionally from a revision or on a branch."""
_STEPS = re.compile(r"[+-]\d+$")
_TARGET = re.compile(r"(?:[^@]+@)?(?:[^@+-]+(?:[+-][0-9]+)?|[+-][0-9]+)")
"""A target, of which Alembic would take the beginning: ``+1`` of ``+1.5``."""
Heads: TypeAlias = tuple[str, ...]
"""The current revisions of a placement: none, one, or several where branches are applied side by side."""


@dataclass(frozen=True)
class RevisionGraph:
    """The shared or the tenant revisions: one folder of a migration environment."""

    environment: Path
    scope: Scope
    naming_convention: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    """The naming convention of the graph's metadata, by which Alembic names constraints and indexes without a name."""
    only: Path | None = None
    """Another folder of revisions, for a trial of a new one."""

    @property
    def folder(self) -> Path:
        """The folder of the revisions."""
        return self.only or self.environment / self.scope

    @property
    def alembic(self) -> str:
        """The beginning of a plain ``alembic`` command, with ``-c`` if the configuration is in the environment."""
        own = self.environment / "alembic.ini"
        return f"alembic -c {os.path.relpath(own)}" if own.is_file() else "alembic"

    @cached_property
    def config(self) -> GraphConfig:
        """Alembic's configuration: the graph's section of ``alembic.ini``, if there is one, and ``[tool.alembic]``.

        :raises ConfigurationError: if the environment is not complete, or a file with options cannot be read.
        """
        if not (self.environment / "env.py").is_file():
            raise ConfigurationError(
                f"There is no migration environment in {self.environment}: env.py is missing. Make one with "
                "'tenantkit init', or correct migrations= of the Tenancy: a relative path starts at the current "
                "directory."
            )
        if not self.folder.is_dir():
            raise ConfigurationError(
                f"The folder {self.folder} is missing. Create it: it holds the {self.scope} revisions."
            )
        with clear_errors(f"The options for the {self.scope} revisions cannot be read"):
            try:
                return GraphConfig(self.environment, self.scope, only=self.only)
            except UnicodeDecodeError as error:
                raise ConfigurationError(
                    f"alembic.ini cannot be read: Alembic expects the encoding of the locale, {error.encoding}. Set a "
                    "locale with another one, for example LC_ALL=C.UTF-8."
                ) from error

    @cached_property
    def scripts(self) -> ScriptDirectory:
        """The revisions, with each file loaded once.

        :raises ConfigurationError: if a revision cannot be loaded, or they do not form a graph.
        """
        what = f"The {self.scope} revisions in {self.folder} cannot be used"
        with clear_errors(what, self.alembic, self.environment), ContainedExits("A revision's file"):
            return read_scripts(self.config)

    @property
    def is_empty(self) -> bool:
        """Whether there is no revision yet."""
        return not self.scripts.revision_map.heads

    def heads(self) -> Heads:
        """Return the heads: the revisions, usually one, of a placement that has all of them."""
        return tuple(sorted(self.scripts.revision_map._real_heads))  # noqa: SLF001

    def order(self) -> dict[str, list[str]]:
        """Return each revision with its direct predecessors."""
        return {
            script.revision: [*script._all_down_revisions]  # noqa: SLF001
            for script in self.scripts.walk_revisions()
        }

    def resolve(self, target: str) -> Heads:
        """Return the revisions that *target* names; raises as `upgrade_steps` does."""
        with self._finding(f"Cannot find {target!r} in the {self.scope} revisions", target):
            found: Sequence[Any] = self.scripts.get_revisions(_parse(target))
            if not all(found):  # None stands for the base, and for what is below it
                raise CommandError(f"{target!r} leads further than to the first revision")
            revisions = tuple(sorted({script.revision for script in found}))
            if (overlap := self._overlap(revisions)) is not None:
                raise CommandError(f"{overlap[0]} includes {overlap[1]}. Leave the latter out")
            return revisions

    def knows(self, revision: str) -> bool:
        """Return whether there is such a revision."""
        return revision in self.scripts.revision_map._revision_map  # noqa: SLF001

    def require_target(self, command: Command, target: str) -> None:
        """Raise if *command* cannot reach *target* from any revision.

        :raises ConfigurationError: if so.
        """
        relative = _RELATIVE.fullmatch(target)
        if relative is not None and (command == "downgrade" or (command == "migrate" and relative[2] is None)):
            for each in filter(None, relative.groups()):  # the rest depends on the revision of each tenant
                self.resolve(each)
        elif command == "migrate":
            self.upgrade_steps(target, ())
        else:
            self.resolve(target)

    def steps(self, command: Command, target: str, current: Heads) -> Sequence[MigrationStep]:
        """Return the steps that *command* takes from *current*, none if there is nothing to do.

        :raises ConfigurationError: if the target or a current revision is unknown.
        """
        match command:
            case "migrate":
                return self.upgrade_steps(target, current)
            case "downgrade":
                return self.downgrade_steps(target, current)
            case "stamp":
                self._require_heads(current)
                return [] if self.resolve(target) == tuple(sorted(current)) else self.stamp_steps(target, current)

    def _require_heads(self, current: Heads) -> None:
        """Raise unless *current* can be the content of a version table.

        :raises ConfigurationError: if a revision is unknown, or if one includes another.
        """
        others = "--shared" if self.scope == "shared" else "--tenants KEYS"
        for revision in current:
            if (baseline := self.baselines.get(revision)) is not None:
                raise ConfigurationError(
                    f"alembic_version has the revision {revision!r}, which the baseline {baseline} has replaced: no "
                    f"revision leads on from it. Migrate to {baseline} first, with code that still has {revision!r}."
                )
            if not self.knows(revision):
                raise ConfigurationError(
                    f"alembic_version has the revision {revision!r}, and no file in {self.folder} has it. If it is "
                    "newer than this checkout, update the code. If its file was removed for good, record where "
                    f"the tables are: 'tenantkit stamp REVISION --purge {others}'."
                )
        if (overlap := self._overlap(current)) is not None:
            revision, below = overlap
            raise ConfigurationError(
                f"alembic_version has {revision} and {below}, and the one includes the other, so a row is wrong. "
                f"Record where the tables are: 'tenantkit stamp {revision} --purge {others}'."
            )

    @cached_property
    def baselines(self) -> dict[str, str]:
        """The baseline that has replaced each revision that has no file any more."""
        return baselines_of(self.scripts.walk_revisions())

    def _overlap(self, revisions: Heads) -> tuple[str, str] | None:
        """Return one of *revisions* and another that it includes; ``None`` if there are none."""
        if len(revisions) < 2:  # noqa: PLR2004 - one revision cannot overlap
            return None
        graph = {script.revision: several(script.down_revision) for script in self.scripts.walk_revisions()}
        overlaps = ((each, (included(graph, each) - {each}) & {*revisions}) for each in revisions)
        return next(((each, min(below)) for each, below in overlaps if below), None)

    def upgrade_steps(self, target: str, current: Heads) -> list[RevisionStep]:
        """Return the steps from *current* up to *target*, none if it has been reached.

        :param target: as Alembic takes it; or several ids, separated by commas.
        :raises ConfigurationError: if the target or a current revision is unknown, or ``head`` is ambiguous.
        """
        self._require_heads(current)
        with self._finding(f"Cannot upgrade the {self.scope} tables to {target!r}", target):
            return list(self.scripts._upgrade_revs(_parse(target), current))  # type: ignore[arg-type]  # noqa: SLF001

    def downgrade_steps(self, target: str, current: Heads) -> list[RevisionStep]:
        """Return the steps from *current* down to *target*; raises as `upgrade_steps` does."""
        self._require_heads(current)
        with self._finding(f"Cannot downgrade the {self.scope} tables to {target!r}", target):
            if not isinstance(_parse(target), str):
                raise CommandError("a downgrade leads to one revision. Name one after the other")
            return list(self.scripts._downgrade_revs(target, current))  # type: ignore[arg-type]  # noqa: SLF001

    def stamp_steps(self, target: str, current: Heads) -> list[RevisionStep]:
        """Return the steps that only record *target*; raises as `upgrade_steps` does."""
        self._require_heads(current)
        with self._finding(f"Cannot stamp the {self.scope} tables with {target!r}", target):
            return list(self.scripts._stamp_revs(_parse(target), current))  # type: ignore[arg-type]  # noqa: SLF001

    @contextmanager
    def _finding(self, what: str, target: str) -> Generator[None]:
        """Turn errors of Alembic about a *target* into a `ConfigurationError` with a remedy."""
        with clear_errors(what, self.alembic):
            try:
                yield
            except (AssertionError, AttributeError, CommandError) as error:
                self._require_branches(target)
                if isinstance(error, CommandError):
                    raise
                # of Alembic, for some steps from the first or last revision
                raise CommandError("there is no such step. Name the revision to go to instead") from error

    def _require_branches(self, target: str) -> None:
        """Raise if *target* names a revision together with a branch that does not have it."""
        for each in target.split(","):
            branch, _, name = each.rpartition("@")
            found = self._find(_STEPS.sub("", name)) if branch and self._find(branch) is not None else None
            if found is not None and self._find(f"{branch}@{found.revision}") is None:
                own = " and ".join(map(repr, sorted(found.branch_labels)))
                belongs = f"belongs to the branch {own}, not to" if own else "does not belong to the branch"
                raise CommandError(
                    f"the revision {found.revision} {belongs} {branch!r}. Leave out '{branch}@', or name another"
                )

    def _find(self, revision: str) -> Script | None:
        with suppress(AssertionError, AttributeError, CommandError):  # Alembic's own, for some malformed names
            return self.scripts.get_revision(revision) if revision else None
        return None


@contextmanager
def clear_errors(what: str, alembic: str = "alembic", environment: Path | None = None) -> Generator[None]:
    """Turn errors of Alembic, or of a broken file of *environment*, into a `ConfigurationError` with a remedy."""
    try:
        yield
    except CommandError as error:
        raise ConfigurationError(f"{what}: {_hint(str(error), alembic)}") from error
    except (ConfigurationError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = str(error) if isinstance(error, TenantkitError) else reason(error)
        if environment is not None and get_place(error) is None:
            set_place(error, find_place(error, environment))
        said = as_clause(with_place(said, error))
        raise ConfigurationError(f"{what}: {said}. Correct the file and run the command again.") from error


def _parse(target: str) -> str | tuple[str, ...]:
    """Return a target as Alembic takes it: several, separated by commas, as a tuple.

    :raises CommandError: if one is malformed.
    """
    targets = tuple(target.split(","))
    for each in targets:
        if not _TARGET.fullmatch(each):
            raise CommandError(f"{each!r} is no revision, and no number of steps such as +1 or -1")
    return targets if len(targets) > 1 else target


def _hint(message: str, alembic: str) -> str:
    message = as_clause(message)
    if "Multiple head revisions" in message:
        return (
            f"{message.split(';')[0]}. Join them with '{alembic} -n tenant merge heads' (or -n shared), "
            "or ask for 'heads' to go to each."
        )
    if "Ambiguous walk" in message:
        return f"{message}. A step such as -1 needs one branch: name the revision to go to instead."
    if "Multiple heads are present" in message:
        return (
            "there are several heads. Name the one that the new revision follows with --head (head= in Python), or "
            f"join them with '{alembic} -n tenant merge heads' (or -n shared)."
        )
    if "Can't locate revision" in message or "No such revision" in message:
        return f"{message}. It is mistyped, or newer than this checkout: update the code."
    return f"{message}."
