"""Migrations of the fleet with plain Alembic, in common forms."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence

from alembic import command
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from benchmarks.fleet.application import Fleet
from benchmarks.fleet.revisions import Change, alembic_config
from tenantkit.postgres.quoting import quote_identifier


def process_per_tenant(fleet: Fleet, change: Change, schemas: Sequence[str]) -> None:
    """Run ``alembic -x tenant=... upgrade`` for each tenant, as a shell script does."""
    for schema in schemas:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "alembic",
                "-x",
                f"tenant={schema}",
                "-x",
                f"url={_url(fleet)}",
                "upgrade",
                change.id,
            ],
            cwd=fleet.folder,
            env=fleet.environment,
            check=True,
            capture_output=True,
        )


def command_per_tenant(fleet: Fleet, change: Change, schemas: Sequence[str]) -> None:
    """Call ``command.upgrade`` for each tenant in this process."""
    for schema in schemas:
        config = alembic_config(fleet)
        config.cmd_opts = Namespace(x=[f"tenant={schema}", f"url={_url(fleet)}"])
        command.upgrade(config, change.id)


def scripts_loaded_once(fleet: Fleet, change: Change, schemas: Sequence[str]) -> None:
    """Load the revisions once, and run them for each tenant on one connection, without ``env.py``."""
    config = alembic_config(fleet)
    scripts = ScriptDirectory.from_config(config)
    engine = create_engine(fleet.url)
    with engine.connect() as connection:
        for schema in schemas:
            connection.exec_driver_sql(f"SET search_path TO {quote_identifier(schema)}")
            connection.commit()
            with EnvironmentContext(
                config,
                scripts,
                fn=lambda revision, _: scripts._upgrade_revs(change.id, revision),  # noqa: SLF001 - as alembic.command does
            ) as environment:
                environment.configure(connection=connection, version_table_schema=schema)
                with environment.begin_transaction():
                    environment.run_migrations()
    engine.dispose()


def _url(fleet: Fleet) -> str:
    return fleet.url.render_as_string(hide_password=False)
