"""Commands of the fork server have the same results as those of new processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.project import Project
from tests.support import commands
from tests.support.commands.forked import ForkedProcess
from tests.support.processes import until

_APPLICATION = """
import atexit, json, os, signal, sys, threading
atexit.register(lambda: print("at exit", file=sys.stderr))
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "name": sys.modules["__main__"].__name__, "file": sys.modules["__main__"].__file__,
    "cwd": os.getcwd(), "variable": os.environ.get("VARIABLE"), "variables": sorted(os.environ),
    "stdin": sys.stdin.read(), "streams": [(each.encoding, each.errors, each.line_buffering, each.isatty(), each.fileno())
        for each in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [getattr(signal.getsignal(number), "__qualname__", str(signal.getsignal(number))) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
    "threads": threading.active_count(), "tests": [name for name in sys.modules if name.startswith("tests")],
    "descriptors": len(os.listdir("/dev/fd")),
}), file=sys.stderr)
"""

ENDS = {
    "sys.exit(3)": 1,
    "os._exit(3)": 1,
    "os.kill(os.getpid(), signal.SIGKILL)": -9,
    "os.kill(os.getpid(), signal.SIGTERM)": -15,
    "(thread := threading.Thread(target=print, args=['in a thread'])).start(); thread.join(); tenancy = None": 2,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_forked_command_has_the_environment_and_effects_of_a_new_one(
    bare_project: Project, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VARIABLE", "é")
    bare_project.write("shop/app.py", f"{_APPLICATION}\n{end}\n")
    forked, new = (
        runner("list", "-a", "shop.app:tenancy", cwd=bare_project.folder, environment=os.environ)
        for runner in (commands.run, commands.run_anew)
    )
    for ours, theirs in zip(forked.stderr.splitlines(), new.stderr.splitlines(), strict=True):
        assert (json.loads(ours) if ours[0] == "{" else ours) == (json.loads(theirs) if ours[0] == "{" else theirs)
    assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)


@pytest.mark.all_cases
@pytest.mark.parametrize("environment", [{"PYTHONWARNINGS": "error::UserWarning"}, {"PYTHONUTF8": "0"}])
def test_other_settings_of_the_interpreter_start_a_new_process(
    bare_project: Project, environment: Mapping[str, str]
) -> None:
    bare_project.write("shop/app.py", "import sys; print(sys.warnoptions, sys.flags.utf8_mode); sys.exit(1)")
    forked, new = (
        runner("list", "-a", "shop.app:x", cwd=bare_project.folder, environment={**os.environ, **environment})
        for runner in (commands.run, commands.run_anew)
    )
    assert forked.stderr == new.stderr


@pytest.mark.all_cases
def test_a_command_that_hangs_is_killed_and_reported(bare_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_LIMIT", 3)
    file = bare_project.folder / "pid"
    bare_project.write(
        "shop/app.py", f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        commands.run("list", "-a", "shop.app:x", cwd=bare_project.folder, environment=os.environ)
    until(lambda: not is_alive(int(file.read_text())))


def test_a_shell_runs_commands_and_gets_their_exit_codes(bare_project: Project) -> None:
    bare_project.write("shop/app.py", "import os, sys; os.kill(os.getpid(), int(sys.stdin.read()))")
    commands.write_script(bare_project.folder)
    script = "./tenantkit --version; echo 15 | ./tenantkit list -a shop.app:x; echo $?; ./tenantkit nope 2>/dev/null; echo $?"
    done = subprocess.run(["bash", "-c", script], cwd=bare_project.folder, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[1:] == ["143", "2"]
    assert done.stdout.startswith("tenantkit 0.")


def test_a_signal_to_the_program_of_a_shell_reaches_the_command(bare_project: Project) -> None:
    bare_project.write("shop/app.py", "import time; open('started', 'w')\nwhile True: time.sleep(0.01)")
    commands.write_script(bare_project.folder)
    program = [bare_project.folder / "tenantkit", "list", "-a", "shop.app:x"]
    with subprocess.Popen(program, cwd=bare_project.folder, stderr=subprocess.PIPE) as process:
        until((bare_project.folder / "started").exists)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("start", [commands.start, commands.start_anew])
def test_a_forked_process_is_waited_for_and_gets_signals_as_a_new_one(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    code = "import os, time; print(os.getpid(), os.getpgrp(), flush=True); time.sleep(300)"
    command = ["-c", code] if start is commands.start else [sys.executable, "-c", code]
    with (tmp_path / "out").open("w+") as out:
        process = start(command, cwd=tmp_path, environment=os.environ, streams=(0, out.fileno(), 2))
        assert isinstance(process, ForkedProcess) == (start is commands.start)
        until(lambda: (tmp_path / "out").read_text().endswith("\n"))
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == process.poll() == process.returncode == -signal.SIGTERM
    assert (tmp_path / "out").read_text().split() == [str(process.pid)] * 2
    process.send_signal(signal.SIGTERM)  # which nobody gets any more


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
