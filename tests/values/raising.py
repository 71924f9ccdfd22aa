"""Functions that other processes import by name and call."""

from __future__ import annotations

from typing import NoReturn


def fail(error: Exception) -> NoReturn:
    raise error
