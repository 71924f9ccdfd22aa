"""What a forked worker process must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Holds connections that must not be shared with a forked process."""

    def renew(self) -> None:
        """Forget the parent's connections, without closing them."""


def renew_after_fork(holder: Renewable) -> None:
    """Give a forked worker (gunicorn --preload) connections and a listener of its own."""
    reference = weakref.ref(holder)

    def renew() -> None:
        if (forked := reference()) is not None:
            forked.renew()

    os.register_at_fork(after_in_child=renew)
