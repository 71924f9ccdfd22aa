"""The place in user code where a migration failed: revision, file, line and traceback."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import RevisionStep
from typing_extensions import override

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.errors import reason
from tenantkit.user_code import ContainedExits, describe_place, get_place, set_place, storable

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationStep

_MAX_TRACEBACK = 20_000
"""Maximum length of a stored traceback, in characters; the end is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The location of a migration's failure, as far as it is known."""

    revision: str | None = None
    """The revision that was running; at a commit, the first and the last revision of the transaction."""
    file: str | None = None
    """The revision's file, or another file of the environment, relative to the current directory if it is below it."""
    line: int | None = None
    traceback: str | None = None

    @override
    def __str__(self) -> str:
        """Return revision, file and line in words; an empty string if none is known."""
        return describe_place(self.revision, self.file, self.line)


class WatchedSteps:
    """Records which step of one run of Alembic is running, so that an error can name it."""

    def __init__(self, environment: Path, starting: Callable[[Place], object] = lambda _: None) -> None:
        self._environment = environment
        self._starting = starting
        self._begun: list[MigrationStep] = []
        self._is_running = False

    def watch(self, steps: Iterable[MigrationStep]) -> Iterator[MigrationStep]:
        """Yield *steps*; each raises an error if its revision would end the process, or does nothing by mistake."""
        for step in steps:
            if isinstance(step, RevisionStep):
                self._watch(step)
            yield step

    def mark(self, error: BaseException) -> None:
        """Attach its place to *error*, unless it has one."""
        if get_place(error) is None:
            set_place(error, self._find(error))

    def _watch(self, step: RevisionStep) -> None:
        run: Callable[..., object] = step.migration_fn

        def migration_fn(**options: Any) -> None:
            self._begun.append(step)
            self._is_running = True
            self._starting(Place(revision=_id(step), file=shown(_file(step))))
            with ContainedExits(f"Revision {_id(step)}"):
                _require_done(run(**options), step)
            self._is_running = False

        step.migration_fn = migration_fn

    def _find(self, error: BaseException) -> Place:
        if not self._begun:
            return replace(find_place(error, self._environment), revision=None)
        step = self._begun[-1]
        if self._is_running:
            place = find_place(error, _file(step))
            return replace(place, revision=_id(step), file=shown(_file(step)))
        # At the commit, where deferred constraints are checked; or in a hook of env.py.
        first, last = _id(self._begun[0]), _id(step)
        is_one = first == last
        return Place(
            revision=last if is_one else f"{first} to {last}",
            file=shown(_file(step)) if is_one else None,
            traceback=format_traceback(error),
        )


def place_of(error: BaseException) -> Place:
    """Return the place that `WatchedSteps.mark` attached to *error*, or to an error that it was raised from."""
    place = get_place(error)
    return place if isinstance(place, Place) else Place(traceback=format_traceback(error))


def find_place(error: BaseException, path: Path) -> Place:
    """Return the innermost line of *path*, a file or all files of a folder, in the traceback of *error*."""
    for each in _chain(error):
        if isinstance(each, SyntaxError) and each.filename and _is_in(each.filename, path):
            return Place(file=shown(Path(each.filename)), line=each.lineno, traceback=format_traceback(error))
        for frame in reversed(traceback.extract_tb(each.__traceback__)):
            if _is_in(frame.filename, path):
                return Place(file=shown(Path(frame.filename)), line=frame.lineno, traceback=format_traceback(error))
    return Place(traceback=format_traceback(error))


def format_traceback(error: BaseException) -> str:
    """Return the traceback of *error* and of its causes, with the first line of each text.

    The other lines of a database's error hold parameters and rows of a tenant.
    """
    parts = [
        "".join([*traceback.format_tb(each.__traceback__), reason(each), "\n"]) for each in reversed(_chain(error))
    ]
    return storable("Traceback (most recent call last):\n" + "\nwhich led to:\n\n".join(parts))[-_MAX_TRACEBACK:]


def shown(path: Path) -> str:
    """Return *path* as messages show it: relative to the current directory if it is below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def _chain(error: BaseException) -> list[BaseException]:
    """Return *error* and its causes and contexts."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and not any(each is other for other in found):
        found.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return found


def _is_in(filename: str, path: Path) -> bool:
    return Path(filename).resolve().is_relative_to(path.resolve())


def _id(step: MigrationStep) -> str:
    return str(step.revision.revision) if isinstance(step, RevisionStep) else ""


def _file(step: MigrationStep) -> Path:
    assert isinstance(step, RevisionStep)  # noqa: S101 - others are not watched
    return Path(step.revision.path)


def _require_done(returned: object, step: RevisionStep) -> None:
    """Raise if a revision's function returned an object that would have done the work.

    :raises ConfigurationError: if it is a coroutine function or a generator.
    """
    if inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        if inspect.iscoroutine(returned):
            returned.close()  # or Python warns that nothing awaited it
        name = "upgrade" if step.is_upgrade else "downgrade"
        raise ConfigurationError(
            f"{name}() did nothing: it returned a {type(returned).__name__}, which Alembic does not run. "
            "Write it as a plain function, without async and yield."
        )
