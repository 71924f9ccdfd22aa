"""What a revision would send, found out by running its ``upgrade()`` on a database that is not there."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from alembic.ddl.impl import DefaultImpl
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy import event

from tenantkit.lint.driver import nowhere
from tenantkit.lint.sql import Statement, read
from tenantkit.migrations.lines import clear_errors
from tenantkit.migrations.operations import adapt_operations
from tenantkit.schema_objects import TypeFilter

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tenantkit.migrations.lines import Line

TENANT_SCHEMA = "tenantkit_lint"
"""What stands for a tenant's schema; where the placeholder itself is left, it was not translated."""

_MOST = 10_000
"""Of statements, before a revision is taken for one that never ends."""

_CHANGES = "tenantkit.migrations.changes."

_BY_OPERATION = {
    DefaultImpl._exec.__code__,  # noqa: SLF001 # pyright: ignore[reportUnknownMemberType] - there is no public way
    Operations.invoke.__code__,
}
"""What Alembic's operations go through: those of a batch the first only, what looks for ENUM types the second only."""


@dataclass(frozen=True)
class Step:
    """What a revision sends at once: a statement, or several in one string."""

    sql: str
    parameters: Any
    lines: tuple[int, ...]
    """Where in the revision's file: the innermost call first."""
    by_operation: bool
    """Whether an operation of Alembic sent it."""
    in_autocommit_block: bool
    by_long_change: bool = False
    """Whether it is a step of tenantkit's operations for long changes, which know PostgreSQL's dangers themselves."""

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """The statements, to look at."""
        return read(self.sql)


@dataclass(frozen=True)
class Rendering:
    """All that a revision would send to an empty schema."""

    steps: tuple[Step, ...]
    error: Exception | None = None
    """What it failed with, if it did."""
    lines: tuple[int, ...] = ()
    """Where it failed."""


@contextmanager
def environment(line: Line) -> Generator[EnvironmentContext]:
    """Enter a line's environment, as its ``env.py`` sets it up.

    That is run for what it registers, such as operations of one's own. It then refuses to go on, as nothing
    tells it a schema to migrate.
    """
    with EnvironmentContext(line.config, line.scripts) as context, clear_errors(f"{line.environment}/env.py failed"):
        with suppress(CommandError):
            line.scripts.run_env()
        yield context


def render(
    context: EnvironmentContext, module: ModuleType, schema_translate_map: Mapping[str | None, str | None]
) -> Rendering:
    """Run ``upgrade()`` of *module*, and return what it sent until it ended or failed."""
    steps: list[Step] = []
    error: Exception | None = None
    lines: tuple[int, ...] = ()

    def is_wanted(schema: str | None, name: str) -> bool:
        is_own = not schema_translate_map or schema is None or schema in schema_translate_map
        return is_own and (schema, name) not in types.created

    types = TypeFilter(is_wanted)
    with nowhere().connect() as connection:
        connection.execution_options(schema_translate_map=dict(schema_translate_map) or None)
        with adapt_operations(connection, schema_translate_map, types=types, in_transaction=False):
            try:
                _run(context, module, connection, steps, types)
            except Exception as caught:  # noqa: BLE001 - whatever it is, it is what there is to report
                error = caught
                frames = [*walk_tb(caught.__traceback__)][::-1]
                lines = tuple(line for frame, line in frames if frame.f_globals is vars(module)) or (1,)
    return Rendering(tuple(steps), error, lines)


def _run(
    context: EnvironmentContext, module: ModuleType, connection: Connection, steps: list[Step], types: TypeFilter
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

    def record(_connection: object, _cursor: object, statement: str, parameters: Any, *_: Any) -> None:
        frames = [*_frames(sys._getframe(1))]  # noqa: SLF001 - there is no public way to the caller
        steps.append(
            Step(
                statement,
                parameters,
                lines=tuple(frame.f_lineno for frame in frames if frame.f_globals is vars(module)) or (1,),
                by_operation=any(frame.f_code in _BY_OPERATION for frame in frames),
                in_autocommit_block=in_block,
                by_long_change=any(frame.f_globals.get("__name__", "").startswith(_CHANGES) for frame in frames),
            )
        )
        if len(steps) >= _MOST:
            raise RuntimeError(f"it sends more than {_MOST:,} statements")

    event.listen(connection, "before_cursor_execute", record)
    context.configure(connection=connection)
    migration = context.get_context()
    migration.impl.memo = types.memo
    migration.autocommit_block = autocommit_block  # type: ignore[method-assign]
    with Operations.context(migration):
        module.upgrade()


def _frames(innermost: FrameType) -> Generator[FrameType]:
    """Yield *innermost* and those around it, as far as the revision's."""
    frame: FrameType | None = innermost
    while frame is not None and frame.f_code is not _run.__code__:
        yield frame
        frame = frame.f_back
