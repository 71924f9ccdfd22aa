"""Runs of a history in several tenants and, for comparison, in one schema by plain Alembic."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import URL, MetaData, NullPool, create_engine

from tenantkit import Tenancy
from tenantkit.migrations import downgrade, init, migrate, status
from tests.migrations.environments import Environment
from tests.migrations.histories import Revision
from tests.migrations.parity.plain import Plain
from tests.migrations.shapes import differences, look

KEYS = ("a", "b", "c")
"""Two tenants that rehearse, and one that is replayed."""


def run_history(history: ModuleType, engine: str, folder: Path, make_database: Callable[..., URL]) -> None:
    """Upgrade to the head, downgrade in steps, upgrade again, and compare after each step.

    :param history: a module with ``REVISIONS``, ``ROWS`` for the tables of the first, a naming ``CONVENTION``, the
        ``STOPS`` of the downgrade, and ``IMPORTS`` of ``env.py``.
    """
    metadata = MetaData(schema="tenant", naming_convention=history.CONVENTION)
    init(folder)
    env = folder / "env.py"
    env.write_text(f"{history.IMPORTS}\n{env.read_text()}")
    environment = Environment(folder)
    first, *later = history.REVISIONS
    first.write(environment)
    url = make_database()
    with closing(Tenancy(url, tenant=metadata, migrations=folder, listen=False)) as tenancy:
        tenancy.install()
        for key in KEYS:
            tenancy.create(key)
    for revision in later:
        revision.write(environment)
    plain = Plain(make_database(), folder / "tenant", metadata, imports=history.IMPORTS)
    plain.upgrade(first.id)
    _fill(plain.url, history.ROWS, "tenant")
    _fill(url, history.ROWS, *(f"t_{key}" for key in KEYS))
    # Without workers, which take time.
    options: Any = {"engine": engine, "jobs": int(engine == "auto")}
    with closing(Tenancy(url, tenant=metadata, migrations=folder, listen=False)) as tenancy:
        engines = set()
        for target in [*_stops(later), "head"] if engine == "auto" else ["head"]:
            engines |= {outcome.engine for outcome in migrate(tenancy, target, **options).outcomes}
        assert engines == ({"alembic", "replay"} if engine == "auto" else {"alembic"})
        assert {placement.state for placement in status(tenancy).placements} == {"current"}
        plain.upgrade("head")
        _compare(url, plain.url)
        tenancy.create("new")
        for stop in history.STOPS:
            downgrade(tenancy, stop, **options)
            plain.downgrade(stop)
            _compare(url, plain.url)
        migrate(tenancy, **options)
        plain.upgrade("head")
        _compare(url, plain.url, "new")


def _stops(revisions: Sequence[Revision]) -> list[str]:
    """Return the revisions before and after those that use the connection, so that the others are replayed."""
    has_connection = [
        bool(re.search(r"get_bind|autocommit_block|_enum_value|PGTrigger", revision.up)) for revision in revisions
    ]
    return [
        revision.id
        for revision, now, then in zip(revisions, has_connection, has_connection[1:], strict=False)
        if now != then
    ]


def _fill(url: URL, rows: str, *schemas: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for schema in schemas:
            connection.exec_driver_sql(f"SET LOCAL search_path = {schema}")
            connection.exec_driver_sql(rows.replace("%", "%%"))


def _compare(url: URL, plain: URL, *others: str) -> None:
    with create_engine(plain, poolclass=NullPool).connect() as connection:
        expected = look(connection, "tenant")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        for key in (*KEYS, *others):
            assert differences(look(connection, f"t_{key}"), expected) == [], key
