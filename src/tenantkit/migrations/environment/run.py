"""Execution of Alembic's environment for one placement.

The caller calls `run`, and ``env.py`` calls `run_environment`. Alembic, between them,
passes a `Request` through and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData

from tenantkit.isolation.row.writing import physical_form
from tenantkit.isolation.target import MigrationTarget
from tenantkit.migrations.environment.alias import ALIAS
from tenantkit.migrations.environment.database_objects import refusing_what_exists_once
from tenantkit.migrations.environment.directives import adapt_directives
from tenantkit.migrations.environment.env_file import REQUEST, Probe, environment, requesting, run_file
from tenantkit.migrations.environment.inspector import inspecting
from tenantkit.migrations.environment.interruptions import Interruption
from tenantkit.migrations.environment.leftovers import Leftovers
from tenantkit.migrations.environment.options import as_list, check_options, merge
from tenantkit.migrations.environment.outside import observe_once
from tenantkit.migrations.environment.row_validation import validating
from tenantkit.migrations.environment.server_defaults import defaults_differ
from tenantkit.migrations.environment.tenant_rows import TenantRows
from tenantkit.migrations.environment.transactions import Transaction
from tenantkit.migrations.environment.translation import adapt_operations
from tenantkit.migrations.graph.places import WatchedSteps
from tenantkit.migrations.operations.steps import COMMON_TABLES, EMPTY, IN_USE
from tenantkit.postgres.limits import LIMITS, POLITE, Limits
from tenantkit.schema_objects import TypeFilter

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationStep

    from tenantkit.migrations.graph.places import Place
    from tenantkit.migrations.graph.revision_graph import Heads, RevisionGraph

Steps: TypeAlias = "Callable[[Heads, MigrationContext], Iterable[MigrationStep]]"
"""A function that returns the steps to run, given the current revisions of a placement."""


class StatementRecorder(Protocol):
    """Records the statements of a run; see `tenantkit.migrations.replay.recorder`."""

    def refuse(self, reason: str) -> None:
        """Note the reason why the recording cannot be sent to other placements."""

    def listening(self, connection: Connection) -> AbstractContextManager[None]:
        """Record the statements that are sent on *connection* during a block."""
        ...

    def guard(self, migration: MigrationContext) -> None:
        """Refuse if a revision reads the schema from Alembic."""


@dataclass(slots=True)
class Request:
    """The purpose of one run of ``env.py``."""

    connection: Connection
    target: MigrationTarget
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further options of Alembic's ``context.configure``."""
    recorder: StatementRecorder | None = None
    before_commit: Callable[[Connection], None] | None = None
    """Called after the last step, in the same transaction."""
    before_block: Callable[[Connection], None] | None = None
    """Called before a step outside of the transaction, at the end of the transaction."""
    limits: Limits = POLITE
    interruption: Interruption = field(init=False)
    rows: TenantRows = field(init=False)
    leftovers: Leftovers = field(init=False)
    is_configuring: bool = False
    """Whether tenantkit, not ``env.py``, is calling Alembic's environment now."""
    is_done: bool = False
    error: BaseException | None = None
    """The error of `run_environment`, which ``env.py`` may have caught."""

    def __post_init__(self) -> None:
        self.interruption = Interruption(self.connection, self.target.schema)
        self.rows = TenantRows(self.connection, self.target)
        self.leftovers = Leftovers(self.connection, self.target.schema, self.recorder)


def run(
    connection: Connection,
    graph: RevisionGraph,
    target: MigrationTarget,
    steps: Steps,
    *,
    limits: Limits = POLITE,
    recorder: StatementRecorder | None = None,
    before_commit: Callable[[Connection], None] | None = None,
    before_block: Callable[[Connection], None] | None = None,
    starting: Callable[[Place], object] = lambda _: None,
    **options: Any,
) -> None:
    """Run the *steps* of *graph* for one target, through its environment's ``env.py``.

    Without ``target.in_transaction``, the connection must not be in a transaction:
    a transaction is begun. It is committed at the end, after a call of *before_commit*, and wherever a revision
    leaves it, after a call of *before_block*. Before each revision, *starting* is called with it.
    Errors carry their place: see `place_of`.

    :raises ConfigurationError: if ``env.py`` does not call `run_environment`.
    :raises ProcessExitError: if ``env.py`` or a revision would end the process.
    """
    options = {"target_metadata": MetaData(naming_convention=graph.naming_convention), **options}
    request = Request(connection, target, options, recorder, before_commit, before_block, limits)
    watch = WatchedSteps(graph.environment, starting)

    def watched(current: Heads, migration: MigrationContext) -> Iterable[MigrationStep]:
        if target.translates:
            adapt_directives(target.placeholder, target.schema, target.schema if recorder is None else ALIAS)
        found = request.leftovers.watch(request.interruption.watch(request.rows.watch(steps(current, migration))))
        return watch.watch(found if recorder is not None else observe_once(found, connection))

    recording = nullcontext() if recorder is None else recorder.listening(connection)
    # Text that a revision prints must not mix with the output of a command.
    with (
        requesting(graph.config, request),
        environment(graph, request, watched),
        redirect_stdout(sys.stderr),
        recording,
    ):
        try:
            run_file(graph, request)
        except Exception as error:
            watch.mark(error)
            raise


def run_environment(**options: Any) -> None:
    """Run the steps that tenantkit has requested; ``env.py`` calls this function only.

    *options* are those of Alembic's ``context.configure``, for example
    ``include_object``, ``process_revision_directives`` or ``user_module_prefix``,
    except for those that tenantkit must set itself.

    :raises CommandError: under a plain ``alembic`` command, which has no tenant.
    :raises ConfigurationError: if an option is tenantkit's to set.
    :raises TypeError: if an option is misspelt.
    """
    check_options(options)
    request: Request | Probe | None = context.config.attributes.get(REQUEST)
    if isinstance(request, Probe):
        request.reach()
    if not isinstance(request, Request):
        raise CommandError(
            "this environment serves many schemas, so it runs under tenantkit only. Use 'tenantkit migrate', "
            "'status', 'downgrade', 'stamp' or 'revision' instead; nothing was changed"
        )
    request.error = None
    request.is_configuring = True
    try:
        _run(request, options)
    except BaseException as error:
        request.error = error
        raise
    finally:
        request.is_configuring = False
    request.is_done = True


def _run(request: Request, options: dict[str, Any]) -> None:
    connection, target = request.connection, request.target
    transaction = Transaction(connection)
    interruption = request.interruption

    def applied(**_: object) -> None:
        # A revision may have changed the search_path for itself.
        _set_search_path(connection, target)
        interruption.forget()

    theirs = as_list(options.get("on_version_apply"))
    if request.recorder is not None and theirs:
        request.recorder.refuse("env.py passes on_version_apply, which is to be called for each tenant")
    hooks = [applied, *theirs, applied] if theirs else [applied]
    ours = {**request.options, "on_version_apply": [*hooks, *as_list(request.options.get("on_version_apply"))]}
    schema = target.schema if request.recorder is None else ALIAS
    types = TypeFilter(lambda of, name: target.owns(of) and not _has_type(connection, target.real(of, schema), name))
    with (
        _translating(connection, target, schema, types),
        nullcontext() if target.in_transaction else interruption.tolerated(),
        refusing_what_exists_once(connection) if target.translates else nullcontext(),
        physical_form(connection, target),
        validating(connection, target),
    ):
        connection.execution_options(**{LIMITS: request.limits, COMMON_TABLES: _common_tables(target)})
        context.configure(connection, version_table_schema=target.schema, **merge(ours, options))
        migration = context.get_context()
        migration.impl.memo = types.memo
        migration.impl.compare_server_default = partial(defaults_differ, connection, target.path)  # type: ignore[method-assign]
        if request.recorder is not None:
            request.recorder.guard(migration)
        block = nullcontext if target.in_transaction else _autocommit_block(migration, request, transaction)
        migration.autocommit_block = block  # type: ignore[method-assign,assignment]
        with context.begin_transaction(), transaction.watch(), request.leftovers.refused():
            enter(connection, target, request.limits)
            if not target.in_transaction:
                interruption.find()
            transaction.begin()
            with request.rows.divided():
                context.run_migrations()
            if request.before_commit is not None:
                request.before_commit(connection)
            transaction.end()


def _common_tables(target: MigrationTarget) -> str | None:
    if target.column is None:
        return None
    return EMPTY if target.in_transaction else IN_USE


def enter(connection: Connection, target: MigrationTarget, limits: Limits) -> None:
    """Prepare the current transaction for work at *target*: a limit for locks, and the search_path."""
    limits.apply(connection)
    _set_search_path(connection, target)


def _set_search_path(connection: Connection, target: MigrationTarget) -> None:
    connection.exec_driver_sql(f"SET LOCAL search_path = {target.search_path}".replace("%", "%%"))


def _has_type(connection: Connection, schema: str, name: str) -> bool:
    dialect: Any = connection.dialect
    return bool(dialect.has_type(connection, name, schema=schema))


@contextmanager
def _translating(connection: Connection, target: MigrationTarget, schema: str, types: TypeFilter) -> Generator[None]:
    """Make SQLAlchemy and Alembic's own constructs translate the placeholder to *schema* on *connection*."""
    before = connection.get_execution_options().get("schema_translate_map")
    names: dict[str | None, str | None] = {target.placeholder: schema} if target.translates else {}
    connection.execution_options(schema_translate_map=names or None)
    try:
        with (
            inspecting(connection, target, schema),
            adapt_operations(connection, names, types=types, in_transaction=target.in_transaction),
        ):
            yield
    finally:
        connection.execution_options(schema_translate_map=before)


def _autocommit_block(migration: MigrationContext, request: Request, transaction: Transaction) -> Callable[[], Any]:
    """Return Alembic's ``autocommit_block``, with the search_path of one schema of many.

    A transaction's settings end with it, so the path is set for the connection inside the block,
    and for the next transaction after it.
    """
    original, target, interruption = migration.autocommit_block, request.target, request.interruption

    @contextmanager
    def autocommit_block() -> Generator[None]:
        request.rows.leave()
        interruption.expect()
        if request.before_block is not None:
            request.before_block(request.connection)
        transaction.end()
        with original():
            connection = migration.connection
            assert connection is not None  # noqa: S101 - offline mode was refused
            connection.exec_driver_sql(f"SET search_path = {target.search_path}".replace("%", "%%"))
            try:
                with request.limits.applied(connection):
                    try:
                        yield
                    except Exception as error:
                        interruption.fail(error)
                        raise
            finally:
                connection.exec_driver_sql("RESET search_path")
        enter(connection, target, request.limits)
        transaction.begin()

    return autocommit_block
