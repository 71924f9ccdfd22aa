"""Migration environments and revisions for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent

_FILE = """\
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = {revision!r}
down_revision = {down!r}
{head}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
"""


@dataclass
class Environment:
    """A migration environment that a test fills."""

    folder: Path
    _last: dict[str, str | None] = field(default_factory=dict)

    def add(
        self,
        revision: str,
        upgrade: str,
        downgrade: str = "pass",
        *,
        line: str = "tenant",
        after: str | tuple[str, ...] | None = None,
        phase: str | None = None,
        head: str = "",
    ) -> str:
        """Write a revision after the last one of its side, or after *after*; return its id.

        *head* is further code of the file, before its functions.
        """
        down = after or self._last.get(line)
        content = _FILE.format(
            revision=revision,
            head=head if phase is None else f"phase = {phase!r}",
            down=None if down == "base" else down,
            upgrade=indent(dedent(upgrade), "    "),
            downgrade=indent(dedent(downgrade), "    "),
        )
        (self.folder / line / f"{revision}.py").write_text(content)
        self._last[line] = revision
        return revision

    def remove(self, revision: str, *, line: str = "tenant") -> None:
        """Remove a revision, as a checkout of older code does."""
        (self.folder / line / f"{revision}.py").unlink()


def write_env(environment: Environment, code: str, options: str = "process_revision_directives=hook") -> None:
    """Write an ``env.py`` with *code* in front, whose ``run_environment()`` gets *options*."""
    head = "from alembic import context\nfrom alembic.operations import ops\nimport sqlalchemy as sa\n"
    run = f"from tenantkit.migrations import run_environment\nrun_environment({options})\n"
    (environment.folder / "env.py").write_text(f"{head}{dedent(code)}\n{run}")


def files(environment: Environment, line: str = "tenant") -> list[Path]:
    """Return the revision files of a side."""
    return sorted((environment.folder / line).rglob("*.py"))
