"""No code in revisions or env.py makes a failure look like a success."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, ProvisioningError, Tenancy
from tenantkit.migrations import (
    Outcome,
    downgrade,
    get_run,
    list_runs,
    migrate,
    preview,
    revision,
    stamp,
    upgrade_shared,
)
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

BASE = 'op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), schema="tenant")'
ADD = 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")'

ENGINES: list[dict[str, Any]] = [{"engine": "auto", "jobs": 1}, {"engine": "alembic", "jobs": 1}, {"jobs": 0}]
by_every_engine = pytest.mark.parametrize("options", ENGINES, ids=lambda options: "-".join(map(str, options.values())))


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(BASE, ("k0", "k1", "k2"))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Tenancy:
    """Three tenants at revision one, with a table of the same name in public."""
    environment.add("s1", "pass", line="shared")
    environment.add("one", BASE)
    tenancy = migrated_tenancy()
    with tenancy.engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.a (x int PRIMARY KEY)"))
    return tenancy


def columns(engine: Engine) -> dict[str, int]:
    """Return the number of columns of each table a, by schema."""
    with engine.connect() as connection:
        query = "SELECT table_schema, count(*) FROM information_schema.columns WHERE table_name = 'a' GROUP BY 1"
        return dict(connection.execute(text(query)).all())


UNTOUCHED = {"public": 1, "t_k0": 1, "t_k1": 1, "t_k2": 1}

OWN_ENVIRONMENT = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine({url!r})
try:
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
finally:
    engine.dispose()
"""

USELESS_ENVIRONMENTS = {
    "own engine": OWN_ENVIRONMENT,
    "empty": "",
    "coroutine": "from tenantkit.migrations import run_environment\nasync def run():\n    run_environment()\nrun().close()",
    "exit": "import sys; sys.exit()",
    "exit 3": "import sys; sys.exit(3)",
    "base exception": "class Stop(BaseException): ...\nraise Stop('enough')",
    "own run": "from alembic import context\ncontext.run_migrations()",
    "broken": "import no_such_module",
    "syntax": "def :",
    "swallowed": (
        "from alembic import context\nfrom sqlalchemy import create_engine\n"
        "try:\n    context.configure(url='postgresql://')\nexcept Exception:\n    pass"
    ),
}


@pytest.mark.parametrize("name", USELESS_ENVIRONMENTS)
def test_an_environment_without_run_environment_is_refused_before_any_step(
    name: str, fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    environment.add("s2", "op.execute('CREATE TABLE wrong ()')", line="shared")
    url = engine.url.render_as_string(hide_password=False)
    (environment.folder / "env.py").write_text(USELESS_ENVIRONMENTS[name].replace("{url!r}", repr(url)))
    calls: list[Callable[[], object]] = [
        lambda: migrate(fleet),
        lambda: migrate(fleet, engine="alembic", jobs=2),
        lambda: downgrade(fleet, "base"),
        lambda: stamp(fleet, "two"),
        lambda: upgrade_shared(fleet),
        lambda: preview(fleet, scripts=True),
        lambda: revision(fleet, "next", autogenerate=True),
        lambda: revision(fleet, "next", autogenerate=True, shared=True),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"env\.py"):
            call()
    with pytest.raises(ProvisioningError, match=r"env\.py|no_such_module|invalid syntax"):
        fleet.create("new")
    assert columns(engine) == UNTOUCHED
    assert not fleet.list(status="active", search="new")


def test_an_environment_that_catches_errors_does_not_hide_them(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", "raise RuntimeError('seen')")
    (environment.folder / "env.py").write_text(
        "from tenantkit.migrations import run_environment\ntry:\n    run_environment()\nexcept BaseException:\n    pass\n"
    )
    with pytest.raises(MigrationError) as raised:
        migrate(fleet)
    assert [outcome.error for outcome in raised.value.report.outcomes] == ["RuntimeError: seen"] * 3


def test_an_environment_cannot_run_the_revisions_on_another_connection(
    fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    url = engine.url.render_as_string(hide_password=False)
    own = OWN_ENVIRONMENT.replace("{url!r}", repr(url))
    (environment.folder / "env.py").write_text(
        f"from tenantkit.migrations import run_environment\nrun_environment()\n{own}"
    )
    with pytest.raises(MigrationError, match="context.configure"):
        migrate(fleet)
    assert columns(engine)["public"] == 1


EXITS = {
    "sys.exit()": "Revision two raised SystemExit",
    "sys.exit(0)": "Revision two raised SystemExit",
    "sys.exit('enough')": "Revision two raised SystemExit: enough",
    "raise SystemExit": "Revision two raised SystemExit",
    "raise GeneratorExit": "Revision two raised GeneratorExit",
    "import asyncio; raise asyncio.CancelledError": "Revision two raised CancelledError",
    "class Stop(BaseException): ...\nraise Stop('enough')": "Revision two raised Stop: enough",
    "raise BaseExceptionGroup('both', [SystemExit(0)])": "Revision two raised BaseExceptionGroup",
    "raise StopIteration": "StopIteration",
    "import os; os._exit(0)": "os._exit()",
    "import os; os.execv('/bin/true', ['true'])": "os.execv()",
}


@pytest.mark.some_values(statement=12)
@by_every_engine
@pytest.mark.parametrize("statement", EXITS)
def test_a_revision_that_ends_the_process_is_a_failure_of_its_tenant(
    statement: str, options: dict[str, Any], fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    only_one = f"import sys\n{ADD}\nschema = op.get_bind().exec_driver_sql('SELECT current_schema()').scalar()\n"
    indented = "\n".join(f"    {each}" for each in statement.splitlines())
    environment.add("two", f"{only_one}if schema == 't_k1':\n{indented}")
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, **options)
    (failure,) = raised.value.report.failures
    assert failure.key == "k1"
    assert EXITS[statement] in (failure.error or "")
    assert (failure.revision, failure.line is None) == ("two", False)
    assert columns(engine) == {**UNTOUCHED, "t_k0": 2, "t_k2": 2}


def test_a_new_tenant_whose_revisions_end_the_process_is_not_created(
    fleet: Tenancy, migrated_tenancy: Make, environment: Environment
) -> None:
    environment.add("two", "raise SystemExit(0)")
    with pytest.raises(ProvisioningError, match=r"SystemExit.*revision two, .*two\.py, line 11"):
        migrated_tenancy().create("new")
    assert [tenant.status for tenant in fleet.list(search="new")] == ["failed"]


def test_shared_revisions_that_end_the_process_fail(fleet: Tenancy, environment: Environment) -> None:
    environment.add("s2", "raise SystemExit(0)", line="shared")
    for call in (lambda: upgrade_shared(fleet), lambda: migrate(fleet)):
        with pytest.raises(MigrationError) as raised:
            call()
        shared: Outcome = raised.value.report.shared
        assert (shared.revision, shared.file is not None, shared.line) == ("s2", True, 11)


NOTHING_DONE = {
    "async def": "async def upgrade():\n    op.execute('CREATE TABLE b ()')",
    "generator": "def upgrade():\n    yield op.execute('CREATE TABLE b ()')",
    "async generator": "async def upgrade():\n    yield op.execute('CREATE TABLE b ()')",
    "partial": "import functools\nasync def work(_): ...\nupgrade = functools.partial(work, 1)",
}


@by_every_engine
@pytest.mark.parametrize("kind", NOTHING_DONE)
def test_a_function_that_alembic_would_not_run_is_refused(
    kind: str, options: dict[str, Any], fleet: Tenancy, environment: Environment
) -> None:
    environment.add("two", "pass")
    file = environment.folder / "tenant" / "two.py"
    file.write_text(f"{file.read_text()}\n\n{NOTHING_DONE[kind]}\n")
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, **options)
    assert [outcome.to_revision for outcome in raised.value.report.failures] == ["one"] * 3
    assert "plain function" in str(raised.value)


FAILURES = {
    "python": ("x = 1\nraise TypeError('odd')", 12),
    "sql": ("op.execute('SELECT 1')\nop.execute('no sql')", 12),
    "helper": ("from textwrap import dedent\ndedent(None)", 12),
    "operation": ("pass\nop.add_column('missing', sa.Column('y', sa.Integer), schema='tenant')", 12),
    "nul": ("raise ValueError('a\\0b\\udc80')", 11),
    "circle": ("a, b = ValueError('a'), ValueError('b')\na.__cause__, b.__cause__ = b, a\nraise a", 13),
    "str": ("class Odd(Exception):\n    def __str__(self): raise KeyError\nraise Odd", 13),
    "deferred": (
        (
            "op.create_table('b', sa.Column('x', sa.Integer, sa.ForeignKey('tenant.a.x', deferrable=True,"
            " initially='DEFERRED')), schema='tenant')\nop.execute('INSERT INTO b VALUES (7)')"
        ),
        None,
    ),
}


@by_every_engine
@pytest.mark.parametrize("kind", FAILURES)
def test_every_failure_names_revision_file_and_line(
    kind: str, options: dict[str, Any], fleet: Tenancy, environment: Environment
) -> None:
    body, line = FAILURES[kind]
    environment.add("two", body)
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, **options)
    report = raised.value.report
    for outcome in (*report.failures, *get_run(fleet, report.run_id)[1]):
        assert (outcome.revision, outcome.line) == ("two", line)
        if line is not None:
            assert (outcome.file or "").endswith("two.py")
            assert f"{environment.folder / 'tenant' / 'two.py'}" in (outcome.traceback or "")
        assert (outcome.traceback or "").startswith("Traceback")
    assert "revision two" in str(raised.value)
    assert all("two.py" in (outcome.file or "two.py") for outcome in report.failures)


def test_a_traceback_has_no_rows(fleet: Tenancy, environment: Environment) -> None:
    environment.add(
        "two",
        "rows = [{'x': 12345}, {'x': 12345}]\n"
        "op.bulk_insert(sa.table('a', sa.column('x', sa.Integer), schema='tenant'), rows * 1)\n",
    )
    with pytest.raises(MigrationError) as raised:
        migrate(fleet, jobs=0)
    (failure, *_) = raised.value.report.failures
    assert failure.sqlstate == "23505"
    assert "(12345)" not in failure.traceback


def test_a_worker_that_dies_names_the_revision(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    # The first two are migrated in this process.
    environment.folder.joinpath("env.py").write_text(
        "from tenantkit.migrations import run_environment\nrun_environment()\n"
    )
    from tenantkit.migrations.environment.targets import graph_of, scratch_target
    from tenantkit.migrations.executors.process import Worker
    from tenantkit.migrations.runs.migrator import set_up
    from tenantkit.migrations.tasks.task import Task, run_task
    from tenantkit.postgres.limits import POLITE

    worker = Worker(set_up(fleet, graph_of(fleet, "tenant"), POLITE, is_sent=True))
    outcome = run_task(Task(key="k0", target=scratch_target(fleet, "t_k0"), command="migrate", revision="two"), worker)
    assert "died" in (outcome.error or "")
    assert (outcome.revision, (outcome.file or "").endswith("two.py")) == ("two", True)


INSTEAD = {
    "nothing": "pass",
    "an error": "raise RuntimeError('instead')",
    "an exit": "raise SystemExit(0)",
    "an error of the transaction": "raise sa.exc.PendingRollbackError('instead')",
    "a wait for a lock": "op.execute(\"DO $$ BEGIN RAISE 'instead' USING ERRCODE = '55P03'; END $$\")",
}


@pytest.mark.parametrize("instead", INSTEAD)
@pytest.mark.parametrize("caught", ["KeyboardInterrupt", "BaseException"])
def test_what_a_revision_raises_in_place_of_an_interruption_is_no_failure(
    instead: str, caught: str, fleet: Tenancy, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.ATTEMPTS", 1)
    environment.add(
        "two", f"import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept {caught}:\n    {INSTEAD[instead]}"
    )
    with pytest.raises(KeyboardInterrupt):
        migrate(fleet, jobs=0)
    (run, *_) = list_runs(fleet)
    assert (run.done, run.failed, run.planned) == (0, 0, 3)


def test_a_wait_for_a_lock_in_place_of_an_interruption_is_no_failure_of_the_shared_tables(
    fleet: Tenancy, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenantkit.postgres.retry.ATTEMPTS", 1)
    caught = f"except KeyboardInterrupt:\n    {INSTEAD['a wait for a lock']}"
    environment.add("s2", f"import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n{caught}", line="shared")
    with pytest.raises(KeyboardInterrupt):
        upgrade_shared(fleet)


def test_the_end_of_a_greenlet_ends_the_run(fleet: Tenancy, environment: Environment) -> None:
    environment.add("two", "class GreenletExit(BaseException): ...\nraise GreenletExit")
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - it is no Exception
        migrate(fleet, jobs=0)
    assert type(raised.value).__name__ == "GreenletExit"
