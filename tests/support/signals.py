"""The signals that processes started by the tests react to."""

from __future__ import annotations

import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Restore the default reaction to SIGINT and SIGTERM, for this process and the processes that it starts.

    A shell without job control starts its background jobs with SIGINT ignored, as POSIX demands. The programs that
    they start inherit that, and tests that interrupt a process would wait until they time out.
    """
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, default)
