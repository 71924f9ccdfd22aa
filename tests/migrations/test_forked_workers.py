"""Workers of the fork server have the environment and effects of new processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.migrations.environment.targets import graph_of, scratch_target
from tenantkit.migrations.executors.process import Worker
from tenantkit.migrations.results.outcome import Outcome
from tenantkit.migrations.runs.migrator import set_up
from tenantkit.migrations.tasks.task import Task, run_task
from tenantkit.postgres.limits import POLITE
from tests.migrations.environments import Environment
from tests.support.commands import workers
from tests.support.commands.forked import ForkedProcess

_SEES = """
import gc, os, signal, sys, threading
raise RuntimeError(repr({
    "argv": (sys.argv[0], len(sys.argv)), "path": sys.path, "cwd": os.getcwd(), "variable": os.environ["PYTEST_CURRENT_TEST"],
    "stdin": sys.stdin.read(), "descriptors": len(os.listdir("/dev/fd")), "threads": threading.active_count(),
    "streams": [(each.encoding, each.errors, each.isatty(), os.path.samestat(os.fstat(each.fileno()), os.fstat(2)))
        for each in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [getattr(signal.getsignal(number), "__name__", str(signal.getsignal(number)))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
    "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, []), "collects": gc.isenabled(),
    "tests": [name for name in sys.modules if name.startswith("tests")],
}))
"""
_DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
_EXITS = "import os\nos._exit(3)"


def test_a_worker_is_forked(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        process = workers.Popen(
            [sys.executable, "-c", "import os, sys; os.write(int(sys.argv[1]), b'written')", str(file.fileno())],
            pass_fds=[file.fileno()],
            stdin=workers.DEVNULL,
        )
        assert isinstance(process, ForkedProcess)
        assert process.wait(60) == 0
    assert (tmp_path / "file").read_text() == "written"


@pytest.mark.parametrize("code", [_SEES, _DIES, _EXITS], ids=["sees", "dies", "exits"])
def test_a_forked_worker_has_the_same_results_as_a_new_one(
    code: str, environment: Environment, migrated_tenancy: Callable[..., Tenancy], request: pytest.FixtureRequest
) -> None:
    environment.add("one", "pass")
    tenancy = migrated_tenancy()
    tenancy.create("k0")
    environment.add("two", code)
    tenancy = migrated_tenancy()

    def migrate() -> tuple[Outcome, int]:
        worker = Worker(set_up(tenancy, graph_of(tenancy, "tenant"), POLITE, is_sent=True))
        task = Task(key="k0", target=scratch_target(tenancy, "t_k0"), command="migrate", revision="two")
        # Since Python 3.13, a traceback shows lines of the program after -c, also for other code from strings.
        return replace(run_task(task, worker), duration_ms=0, traceback=None), worker.close()

    forked = migrate()
    request.getfixturevalue("new_workers")
    assert forked == migrate()
