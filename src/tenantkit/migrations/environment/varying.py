"""Calls by which Python code gets another value each time, or on each machine."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from datetime import date
from functools import cache
from types import CodeType, FrameType
from typing import Any

_CLOCK = frozenset({time.time, time.time_ns, time.localtime, time.gmtime, time.strftime})
_OF_DATES = frozenset({"now", "today", "utcnow"})
_LIBRARIES = frozenset({"alembic", "logging", "psycopg", "sqlalchemy", "tenantkit", "threading"})
"""Packages that read the clock for themselves."""


@cache
def codes_that_vary() -> Mapping[CodeType, str]:
    """Return functions of Python's own modules, each with what it does."""
    environ: Any = type(os.environ)
    return {getattr(environ, name).__code__: "reads the environment" for name in ("__getitem__", "__iter__")}


def describe_call(frame: FrameType, function: Any) -> str | None:
    """Return what a call of a *function* in C does, if its value varies; *frame* is the caller's."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        return "reads the clock" if issubclass(owner, date) and function.__name__ in _OF_DATES else None
    if isinstance(owner, random.Random):
        return "draws a random number"
    if function is os.urandom:
        return "draws a random number"
    if owner is time and function in _CLOCK:
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        return None if name in _LIBRARIES else "reads the clock"
    return None
