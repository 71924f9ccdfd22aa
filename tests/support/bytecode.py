"""Compiled modules are kept of the package and of the tests, not of what tests write.

Python takes a compiled module for that of a source of the same size and second, and tests write more than one of these.
"""

from __future__ import annotations

import compileall
import os
import sys
from pathlib import Path

import pytest

import tenantkit


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once for the many processes that tests start."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(tenantkit.__file__).parent, quiet=2)


def pytest_collection_finish() -> None:
    """Write no compiled modules from now on, here and in other processes."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
