"""What other processes call; they import it by name."""

from __future__ import annotations

from typing import NoReturn


def fail(error: Exception) -> NoReturn:
    raise error
