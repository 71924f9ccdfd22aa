"""The cost of ``import tenantkit`` relative to SQLAlchemy's ORM, in new processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.race import Ratio, median_ratio

OURS, BASE = "tenantkit", "sqlalchemy.orm"
FOREIGN = ("alembic", "greenlet", "flask", "fastapi", "starlette", "typer", "rich", "psycopg", "asyncpg")
"""Modules that it must not import."""


@dataclass(frozen=True)
class Imported:
    """The cost of importing a module."""

    seconds: float
    modules: frozenset[str]


def measure(*, samples: int) -> tuple[Imported, Imported, Ratio]:
    """Return the cost of importing tenantkit, that of ``sqlalchemy.orm``, and the ratio; interpreters alternate.

    The time is processor time, which other programs affect less than wall-clock time.
    """
    pairs = [(_processor_time(OURS), _processor_time(BASE)) for _ in range(samples)]
    ours, base = zip(*pairs, strict=True)
    return (
        Imported(statistics.median(ours), _modules(OURS)),
        Imported(statistics.median(base), _modules(BASE)),
        median_ratio([one / other for one, other in pairs]),
    )


def _processor_time(module: str) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _modules(module: str) -> frozenset[str]:
    program = f"import {module}, sys; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return frozenset(shown.split())
