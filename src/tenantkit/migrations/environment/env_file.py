"""Refusal of an ``env.py`` that does not leave connections and transactions to tenantkit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from alembic.runtime.environment import EnvironmentContext

from tenantkit.exceptions import ConfigurationError, TenantkitError
from tenantkit.exceptions.base import as_clause
from tenantkit.migrations.graph.places import find_place
from tenantkit.postgres.errors import reason
from tenantkit.user_code import ContainedExits, describe_place, without_exits

if TYPE_CHECKING:
    from alembic.config import Config

    from tenantkit.migrations.graph.revision_graph import RevisionGraph

_ADVICE = (
    "tenantkit opens the connection and chooses the schema, so in place of an engine, context.configure() and "
    "context.run_migrations(), env.py calls tenantkit.migrations.run_environment(), which takes the options of "
    "context.configure(). The file that 'tenantkit init' writes shows how"
)


REQUEST = "tenantkit"
"""The attribute of Alembic's configuration that holds the purpose of a run of ``env.py``."""

_alembic_lock = threading.RLock()
"""``alembic.op`` and ``alembic.context`` are module globals: in one process, one migration at a time."""


class EnvRequest(Protocol):
    """The purpose of a run of ``env.py``."""

    is_configuring: bool
    is_done: bool
    error: BaseException | None


@dataclass(slots=True)
class Probe:
    """A run of ``env.py`` up to its call of `run_environment`, without a database."""

    is_configuring: bool = False
    is_done: bool = False
    error: BaseException | None = None

    def reach(self) -> None:
        """Note that `run_environment` was called, and leave ``env.py``."""
        self.is_done = True
        raise _ReachedError


class _ReachedError(BaseException):
    """The end of a probe. No `Exception`, which ``env.py`` may catch."""


@contextmanager
def environment(graph: RevisionGraph, request: EnvRequest, fn: Any, **options: Any) -> Generator[EnvironmentContext]:
    """Provide Alembic's environment during a block; only `run_environment` can configure it and run revisions."""

    def require_ours(call: str) -> None:
        if not request.is_configuring:
            raise ConfigurationError(f"env.py calls {call} itself, and nothing was done: {_ADVICE}.")

    with EnvironmentContext(graph.config, graph.scripts, fn=fn, **options) as found:
        configure, run_migrations = found.configure, found.run_migrations

        def guarded_configure(*args: Any, **options: Any) -> None:
            require_ours("context.configure()")
            configure(*args, **options)

        def guarded_run_migrations(**options: Any) -> None:
            require_ours("context.run_migrations()")
            run_migrations(**options)

        # On the object: Alembic sets its module ``context`` up for this very class only.
        found.configure = guarded_configure  # type: ignore[method-assign]
        found.run_migrations = guarded_run_migrations  # type: ignore[method-assign]
        yield found


def run_file(graph: RevisionGraph, request: EnvRequest) -> None:
    """Run ``env.py``.

    :raises ConfigurationError: if it did not call `run_environment`.
    """
    with ContainedExits("env.py"), without_exits("env.py, or a revision,"):
        with suppress(_ReachedError):
            graph.scripts.run_env()
        if request.error is not None:  # which env.py has caught
            raise request.error
    if not request.is_done:
        raise ConfigurationError(f"env.py does not call run_environment(), so nothing was done: {_ADVICE}.")


@contextmanager
def requesting(config: Config, request: EnvRequest) -> Generator[None]:
    """Pass *request* to ``env.py`` through Alembic's configuration during a block.

    Options and attributes that ``env.py`` sets are gone afterwards: with plain Alembic, each command reads them anew.
    """
    with _alembic_lock:
        options, attributes = deepcopy(config.file_config), {**config.attributes}
        config.attributes[REQUEST] = request
        try:
            yield
        finally:
            config.file_config = options
            config.attributes.clear()
            config.attributes.update(attributes)


def _no_steps(_heads: object, _migration: object) -> tuple[()]:
    return ()


def require_usable(graph: RevisionGraph) -> None:
    """Raise unless the ``env.py`` of *graph* calls `run_environment`; no revision is run.

    :raises ConfigurationError: if it does not, or fails before.
    """
    probe = Probe()
    try:
        with (
            requesting(graph.config, probe),
            environment(graph, probe, _no_steps),
            redirect_stdout(sys.stderr),
        ):
            run_file(graph, probe)
    except ConfigurationError:
        raise
    except Exception as error:
        place = find_place(error, graph.environment)
        where = describe_place(None, place.file, place.line)
        said = str(error) if isinstance(error, TenantkitError) else reason(error)
        raise ConfigurationError(
            f"env.py cannot be used: {as_clause(said)}{f' ({where})' if where else ''}. "
            "Correct it and run the command again."
        ) from error
