"""Small copies of the histories of two applications: their revisions, as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.migrations.environments import Environment

_REVISION = re.compile(r"^### (\w+) < ([\w, ]+?)(?: \| (.+))?$", re.MULTILINE)


@dataclass(frozen=True)
class Revision:
    """A revision as text: its code of upgrade and downgrade, and further code of its file."""

    id: str
    after: tuple[str, ...]
    head: str
    up: str
    down: str

    def write(self, environment: Environment) -> None:
        """Write the file."""
        after = self.after[0] if len(self.after) == 1 else self.after
        environment.add(self.id, self.up, self.down, after=after, head=self.head)


def read(text: str) -> list[Revision]:
    """Parse revisions of the form ``### id < parents | more``, the code of upgrade, ``--- down`` and that of downgrade."""
    _, *parts = _REVISION.split(text)
    return [
        Revision(id_, tuple(after.split(", ")), (head or "").replace("; ", "\n"), *_both(code))
        for id_, after, head, code in zip(*(parts[n::4] for n in range(4)), strict=True)
    ]


def _both(code: str) -> tuple[str, str]:
    up, down = code.split("--- down\n")
    return up.strip("\n"), down.strip("\n") or "pass"
