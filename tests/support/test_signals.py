"""The reaction to signals does not depend on the shell that starts the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

_WAITING = "import time; print('ready', flush=True); time.sleep(60)"
_ROOT = Path(__file__).parents[2]


@pytest.mark.each_value
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_a_test_starts_ends_at_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _WAITING], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        try:
            assert child.wait(30) == -number
        finally:
            child.kill()


@pytest.mark.all_cases
def test_the_tests_may_be_started_in_the_background_of_a_shell() -> None:
    test = f"{__file__}::{test_a_process_that_a_test_starts_ends_at_a_signal.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", test]
    script = "trap '' TERM HUP; \"$@\" & wait $!"  # a job in the background ignores SIGINT
    done = subprocess.run(["sh", "-c", script, "sh", *command], cwd=_ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
