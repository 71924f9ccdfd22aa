"""Garbage collection during the imports of a command."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_threshold: ContextVar[int | None] = ContextVar("_threshold", default=None)
"""The collector's threshold before `paused`; ``None`` if the collector is not paused."""


@contextmanager
def paused() -> Generator[None]:
    """Collect no garbage until `resume`, or until the end of the block.

    This sets the threshold to 0. So a call of `gc.disable` in an imported module keeps its effect.
    """
    _threshold.set(gc.get_threshold()[0])
    gc.set_threshold(0)
    try:
        yield
    finally:
        resume()


def resume() -> None:
    """Collect garbage again, but never among the objects that exist now; do nothing unless it is `paused`."""
    before = _threshold.get()
    if before is None:
        return
    _threshold.set(None)
    gc.freeze()
    if gc.get_threshold()[0] == 0:  # no imported module has set it
        gc.set_threshold(before)
