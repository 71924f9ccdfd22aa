"""Revisions for tests."""

from __future__ import annotations

from textwrap import dedent, indent

import psycopg
from sqlalchemy import create_engine

ENGINE = create_engine("postgresql+psycopg://192.0.2.1/an_application", connect_args={"connect_timeout": 1})
"""An application's engine, which a revision may import."""


def connect_to_postgresql() -> None:
    """Open a connection, as an application's function does."""
    psycopg.connect("host=192.0.2.1 connect_timeout=1")


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
    """Return the text of a revision; *head* follows the imports."""
    return _FILE.format(head=head, revision=name, down=down, upgrade=indent(dedent(upgrade).strip(), "    "))
