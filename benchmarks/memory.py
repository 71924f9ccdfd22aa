"""The growth of a process that serves 5,000 tenants instead of one.

It runs as a program of its own, once for Python's memory and once for the whole process's, because tracing takes
memory. Each tenant exists, with a table, and gets a session by its key, which selects a row.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

from sqlalchemy import URL, MetaData, create_engine, make_url, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import Tenancy


class Base(DeclarativeBase):
    """Tables of the tenants."""

    metadata = MetaData(schema="tenant")


class Note(Base):
    """The only table."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)


def make_tenants(url: URL, count: int) -> None:
    """Create *count* tenants in bulk, in the registry and the catalog."""
    tenancy = Tenancy(url, tenant=Base.metadata, listen=False)
    tenancy.install()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tenantkit.tenants (key, name, status, database, schema) "
            "SELECT 'many' || n, 'Tenant number ' || n, 'active', 'main', 't_many' || n "
            f"FROM generate_series(1, {count}) AS n"
        )
        for first in range(1, count + 1, 500):
            connection.exec_driver_sql(
                f"DO $$ BEGIN FOR n IN {first} .. {min(first + 499, count)} LOOP "
                "EXECUTE 'CREATE SCHEMA t_many' || n; "
                "EXECUTE 'CREATE TABLE t_many' || n || '.note (id int)'; END LOOP; END $$"
            )
    engine.dispose()
    tenancy.close()


def measure(url: URL, count: int) -> tuple[int, int]:
    """Return the growth of Python's memory and of the process's resident memory from 1 to *count* tenants, in bytes."""
    traced, resident = (
        int(
            subprocess.run(
                [sys.executable, "-m", __name__, url.render_as_string(hide_password=False), str(count), kind],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout
        )
        for kind in ("traced", "resident")
    )
    return traced, resident


def _growth(url: URL, count: int, *, trace: bool) -> int:
    tenancy = Tenancy(url, tenant=Base.metadata, listen=False, engine_options={"pool_size": 1})
    statement = select(Note.id)

    def visit(number: int) -> None:
        with tenancy.session(f"many{number}") as session:
            session.execute(statement).all()

    def used() -> int:
        gc.collect()
        if trace:
            return tracemalloc.get_traced_memory()[0]
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    if trace:
        tracemalloc.start()
    for _ in range(300):
        visit(1)
    before = used()
    for number in range(1, count + 1):
        visit(number)
    after = used()
    tenancy.close()
    return after - before


if __name__ == "__main__":
    print(_growth(make_url(sys.argv[1]), int(sys.argv[2]), trace=sys.argv[3] == "traced"))
