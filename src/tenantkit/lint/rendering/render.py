"""Statements of a revision, found by running one of its functions on a database that does not exist."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from alembic.ddl.impl import DefaultImpl
from alembic.operations import Operations
from alembic.operations.ops import ExecuteSQLOp
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy import Select, TextClause, event

from tenantkit.lint.rendering.driver import nowhere
from tenantkit.lint.rendering.outside import prevented
from tenantkit.lint.sql.statement import Statement, read, read_all
from tenantkit.migrations.environment.translation import adapt_operations
from tenantkit.migrations.graph.revision_graph import clear_errors
from tenantkit.schema_objects import TypeFilter

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.types import TypeEngine

    from tenantkit.migrations.graph.revision_graph import RevisionGraph

_MAX_STATEMENTS = 10_000
"""Maximum number of statements of a revision. More are taken for an endless loop."""

_CHANGES = "tenantkit.migrations.operations."

_EXEC = DefaultImpl._exec.__code__  # noqa: SLF001 # pyright: ignore[reportUnknownMemberType] - there is no public way
_INVOKE = Operations.invoke.__code__


@dataclass(frozen=True)
class Step:
    """One string that a revision sends, with one or several statements."""

    sql: str
    parameters: Any
    lines: tuple[int, ...]
    """The lines of the revision's file, the innermost call first."""
    by_operation: bool
    """Whether an operation of Alembic sent it, so that it can be replayed; see `Recorder`."""
    in_autocommit_block: bool
    construct: Literal["text", "construct"] | None = None
    """Whether it was sent as `sqlalchemy.text`, as strings of ``op.execute`` are, or as another construct of
    SQLAlchemy's; ``None`` for a string of the driver."""
    existing_type: TypeEngine[Any] | None = None
    """The present type of a column whose type an operation changes, if it names it."""
    by_long_change: bool = False
    """Whether it is a step of tenantkit's operations for long changes, which avoid the dangers that lint looks for."""

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """The parsed statements."""
        return read(self.sql)

    @cached_property
    def all_statements(self) -> tuple[Statement, ...]:
        """The parsed statements, and those in the body of a DO, without the names that it declares."""
        return read_all(self.sql)


@dataclass(frozen=True)
class Outside:
    """Work outside of a revision's connection."""

    what: str
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Rendering:
    """The statements that a revision would send to an empty schema."""

    steps: tuple[Step, ...]
    error: Exception | None = None
    """The error with which it failed, if it did."""
    lines: tuple[int, ...] = ()
    """The lines in which it failed."""
    outside: tuple[Outside, ...] = ()
    """Work outside of its connection, which was prevented."""


@contextmanager
def environment(graph: RevisionGraph) -> Generator[EnvironmentContext]:
    """Enter the environment of a graph, as its ``env.py`` configures it.

    ``env.py`` runs because it may register things, such as operations. It then stops, as there is no schema to migrate.
    """
    with EnvironmentContext(graph.config, graph.scripts) as context, clear_errors(f"{graph.environment}/env.py failed"):
        with suppress(CommandError):
            graph.scripts.run_env()
        yield context


def render(
    context: EnvironmentContext,
    module: ModuleType,
    schema_translate_map: Mapping[str | None, str | None],
    *,
    function: str = "upgrade",
) -> Rendering:
    """Run ``upgrade()`` of *module*, or another *function*, and return what it sent until it ended or failed."""
    steps: list[Step] = []
    outside: list[Outside] = []
    error: Exception | None = None
    lines: tuple[int, ...] = ()

    def is_wanted(schema: str | None, name: str) -> bool:
        is_own = not schema_translate_map or schema is None or schema in schema_translate_map
        return is_own and (schema, name) not in types.created

    def notice(what: str) -> None:
        outside.append(Outside(what, _lines(module, sys._getframe(1))))  # noqa: SLF001 - there is no public way

    types = TypeFilter(is_wanted)
    with nowhere().connect() as connection:
        connection.execution_options(schema_translate_map=dict(schema_translate_map) or None)
        with adapt_operations(connection, schema_translate_map, types=types, in_transaction=False):
            try:
                _run(context, module, function, connection, steps, types, notice)
            except Exception as caught:  # noqa: BLE001 - whatever it is, it is what there is to report
                error = caught
                frames = [*walk_tb(caught.__traceback__)][::-1]
                lines = tuple(line for frame, line in frames if frame.f_globals is vars(module)) or (1,)
    return Rendering(tuple(steps), error, lines, tuple(outside))


def _run(
    context: EnvironmentContext,
    module: ModuleType,
    function: str,
    connection: Connection,
    steps: list[Step],
    types: TypeFilter,
    notice: Callable[[str], None],
) -> None:
    in_block = False

    @contextmanager
    def autocommit_block() -> Generator[None]:
        nonlocal in_block
        before, in_block = in_block, True
        try:
            yield
        finally:
            in_block = before

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, execution: Any, *_: Any) -> None:
        frames = [*_frames(sys._getframe(1))]  # noqa: SLF001 - there is no public way to the caller
        construct: Any = getattr(execution.compiled, "statement", None)
        steps.append(
            Step(
                statement,
                parameters,
                lines=_lines(module, frames[0]),
                by_operation=_is_recorded(frames, construct, statement),
                in_autocommit_block=in_block,
                construct=None if construct is None else "text" if isinstance(construct, TextClause) else "construct",
                existing_type=getattr(construct, "existing_type", None),
                by_long_change=any(frame.f_globals.get("__name__", "").startswith(_CHANGES) for frame in frames),
            )
        )
        if len(steps) >= _MAX_STATEMENTS:
            raise RuntimeError(f"it sends more than {_MAX_STATEMENTS:,} statements")

    event.listen(connection, "before_cursor_execute", record)
    context.configure(connection=connection)
    migration = context.get_context()
    migration.impl.memo = types.memo
    migration.autocommit_block = autocommit_block  # type: ignore[method-assign]
    with Operations.context(migration), prevented(notice):
        getattr(module, function)()


def _is_recorded(frames: Sequence[FrameType], construct: Any, statement: str) -> bool:
    """Return whether `Recorder` would record a statement for replay, as far as the frames show."""
    reads = isinstance(construct, Select)
    operation: type | None = None
    is_executed = False
    for frame in frames:
        if frame.f_code is _INVOKE:
            invoked: type = frame.f_locals["operation"].__class__
            operation = invoked if invoked.__module__.startswith("alembic.") else None
            break
        is_executed = is_executed or frame.f_code is _EXEC
    else:
        operation = object if is_executed else None
    if operation is ExecuteSQLOp or (reads and "pg_type" in statement):
        return True  # for the latter, Alembic asks whether it has to create a named type
    return operation is not None and not reads


def _frames(innermost: FrameType) -> Generator[FrameType]:
    """Yield *innermost* and the frames around it, up to the revision's."""
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code is not _run.__code__:
        yield frame
        frame = frame.f_back


def _lines(module: ModuleType, innermost: FrameType) -> tuple[int, ...]:
    """Return the lines of *module* on the stack of a frame, the innermost call first."""
    return tuple(frame.f_lineno for frame in _frames(innermost) if frame.f_globals is vars(module)) or (1,)
