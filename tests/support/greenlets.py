"""Processes that tests start measure no coverage of greenlets where that may hang.

coverage.py has weak references to greenlets. CPython 3.11 destroys that of a thread that has ended in a pending call,
within which it executes the first instruction of a traced callback for ever.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64decode, b64encode

_VARIABLE = "COVERAGE_PROCESS_CONFIG"
"""Set by coverage.py for the processes of a measured one."""


def pytest_collection_finish() -> None:
    """Change the configuration of processes that this one starts, after pytest has started those that run tests."""
    if sys.version_info < (3, 12) and _VARIABLE in os.environ:
        configuration = json.loads(b64decode(os.environ[_VARIABLE]))
        configuration["concurrency"] = ["thread"]
        os.environ[_VARIABLE] = b64encode(json.dumps(configuration).encode()).decode()
