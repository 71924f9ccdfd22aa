"""The signals that processes started by the tests react to."""

from __future__ import annotations

import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Restore the default reaction to SIGINT and SIGTERM, for this process and the processes that it starts.

    A shell without job control starts its background jobs with SIGINT ignored, as POSIX demands. The programs that
    they start inherit that, and tests that interrupt a process would wait until they time out. Likewise nohup and
    SIGHUP, to which only the processes that this one starts react: they do not inherit a handler.
    """
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: _go_on}
    for number, default in defaults.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, default)


def _go_on(*_: object) -> None:
    """Do as if the signal were ignored."""
