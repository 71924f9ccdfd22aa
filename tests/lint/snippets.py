"""Writing a revision for a test."""

from __future__ import annotations

from textwrap import dedent, indent

_FILE = """\
import sqlalchemy as sa
from alembic import op
{head}
revision = {revision!r}
down_revision = {down!r}


def upgrade():
{upgrade}


def downgrade():
    pass
"""


def revision(upgrade: str, *, head: str = "", name: str = "r1", down: str | None = None) -> str:
    """Return the text of a revision; *head* stands below the imports."""
    return _FILE.format(head=head, revision=name, down=down, upgrade=indent(dedent(upgrade).strip(), "    "))
