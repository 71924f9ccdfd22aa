"""The revisions of the fleet: written for tenantkit and for plain Alembic, and rendered as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from textwrap import dedent
from typing import TYPE_CHECKING

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from benchmarks.fleet.models import table_name
from tenantkit.migrations import init

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.fleet.application import Fleet

BASE = "base000"
"""The revision that creates the application's tables."""

_BASE = dedent(
    '''
    """Create the application's tables."""

    from alembic import op

    revision = "{id}"
    down_revision = None


    def upgrade() -> None:
        from benchmarks.fleet.models import create_statements

        for statement in create_statements({tables}):
            op.execute(statement)
    '''
)

_CHANGE = dedent(
    '''
    """Add three columns, a table with a foreign key, and two indexes."""

    import sqlalchemy as sa
    from alembic import op

    revision = "{id}"
    down_revision = "{previous}"


    def upgrade() -> None:
        op.add_column("{first}", sa.Column("{id}_state", sa.Text()){schema})
        op.add_column("{first}", sa.Column("{id}_total", sa.Numeric(12, 2)){schema})
        op.add_column("{second}", sa.Column("{id}_due", sa.DateTime(timezone=True)){schema})
        op.create_table(
            "{id}_entry",
            sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
            sa.Column("parent_id", sa.BigInteger(), sa.ForeignKey("{prefix}{first}.id"), nullable=False),
            sa.Column("note", sa.Text()){schema},
        )
        op.create_index("{id}_entry_parent", "{id}_entry", ["parent_id"]{schema})
        op.create_index("{id}_second_due", "{second}", ["{id}_due"]{schema})
    '''
)

_ENV = dedent(
    '''
    """Alembic's cookbook: Rudimental Schema-Level Multi Tenancy for PostgreSQL Databases."""

    from alembic import context
    from sqlalchemy import create_engine, pool, text

    wanted = context.get_x_argument(as_dictionary=True)
    with create_engine(wanted["url"], poolclass=pool.NullPool).connect() as connection:
        connection.execute(text(f'set search_path to "{wanted["tenant"]}"'))
        connection.commit()
        connection.dialect.default_schema_name = wanted["tenant"]
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    '''
)

_INI = "[alembic]\nscript_location = %(here)s/alembic\npath_separator = os\n"


@dataclass(frozen=True)
class Change:
    """One revision after the base: its id, and its objects."""

    number: int
    """The number of the change, from 1."""
    first: int
    """The number of the first table with new columns; the other one is the next, which references it."""

    @property
    def id(self) -> str:
        """The revision id."""
        return f"r{self.number:03}"

    @property
    def previous(self) -> str:
        """The id of the previous revision."""
        return f"r{self.number - 1:03}" if self.number > 1 else BASE

    @property
    def relations(self) -> list[str]:
        """The names of the tables, sequences and indexes that it adds."""
        entry = f"{self.id}_entry"
        return [entry, f"{entry}_id_seq", f"{entry}_pkey", f"{entry}_parent", f"{self.id}_second_due"]

    @property
    def columns(self) -> list[str]:
        """The names of the columns that it adds to existing tables."""
        return [f"{self.id}_state", f"{self.id}_total", f"{self.id}_due"]


def make_environments(fleet: Fleet) -> None:
    """Make the folders of both environments, with the base revision."""
    versions = fleet.folder / "alembic" / "versions"
    versions.mkdir(parents=True)
    (fleet.folder / "alembic" / "env.py").write_text(_ENV)
    init(fleet.migrations)
    (fleet.folder / "alembic.ini").write_text(_INI)
    for folder in (versions, fleet.migrations / "tenant"):
        (folder / f"{BASE}.py").write_text(_BASE.format(id=BASE, tables=fleet.tables))


def write_changes(fleet: Fleet, tables: Sequence[int]) -> list[Change]:
    """Write a change to each of *tables* into both environments, each after the one before."""
    changes = [Change(number, first) for number, first in enumerate(tables, start=1)]
    for change in changes:
        _write(change, fleet.folder / "alembic" / "versions", schema=None)
        _write(change, fleet.migrations / "tenant", schema="tenant")
    return changes


def alembic_config(fleet: Fleet) -> Config:
    """Return Alembic's configuration of its own environment."""
    return Config(str(fleet.folder / "alembic.ini"))


def render(fleet: Fleet, changes: Sequence[Change]) -> dict[str, str]:
    """Return the SQL of each change by its id, as Alembic renders it: a transaction without a schema."""
    config = alembic_config(fleet)
    scripts = ScriptDirectory.from_config(config)
    return {change.id: _render(config, scripts, change) for change in changes}


def _write(change: Change, folder: Path, *, schema: str | None) -> None:
    (folder / f"{change.id}.py").write_text(
        _CHANGE.format(
            id=change.id,
            previous=change.previous,
            first=table_name(change.first),
            second=table_name(change.first + 1),
            schema=f', schema="{schema}"' if schema else "",
            prefix=f"{schema}." if schema else "",
        )
    )


def _render(config: Config, scripts: ScriptDirectory, change: Change) -> str:
    written = StringIO()
    with EnvironmentContext(
        config,
        scripts,
        fn=lambda revision, _: scripts._upgrade_revs(change.id, revision),  # noqa: SLF001 - as alembic.command does
        as_sql=True,
        starting_rev=change.previous,
        destination_rev=change.id,
    ) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=written)
        with environment.begin_transaction():
            environment.run_migrations()
    return "\n".join(line for line in written.getvalue().splitlines() if line and not line.startswith("--"))
