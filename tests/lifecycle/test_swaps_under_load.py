"""Processes write all the time while a tenant is swapped: what was committed is in the tables that it was written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import URL, Engine, text

from tenantkit import Tenancy, TenantMovedError
from tenantkit.lifecycle import swap
from tests.support.catalog import mark_copy
from tests.support.models import Project
from tests.support.processes import until, worker

Written = list[tuple[str, str]]
"""Names of rows whose commit was answered, and the schema to which they were written."""


def write(tenancy: Tenancy, key: str, name: str, is_over: Callable[[], bool]) -> tuple[Written, int]:
    """Write numbered rows, each again after it was refused; return them, and how often one was refused."""
    written: Written = []
    refused = 0
    while not is_over():
        row = f"{name}-{len(written)}"
        try:
            with tenancy.session(key) as session:
                session.add(Project(name=row))
                session.commit()
        except TenantMovedError:
            refused += 1
        else:
            written.append((row, session.tenant.schema))
    return written, refused


def write_elsewhere(tenancy: Tenancy, key: str, name: str) -> tuple[Written, int]:
    """Do so in a process of its own until the table ``public.over`` exists."""

    def is_over() -> bool:
        with tenancy.engine.connect() as connection:
            return connection.scalar(text("SELECT to_regclass('public.over') IS NOT NULL")) is True

    return write(tenancy, key, name, is_over)


@pytest.mark.parametrize("rounds", [5, pytest.param(15, marks=pytest.mark.all_cases)])
def test_no_row_is_lost_and_none_is_in_both(
    make_tenancy: Callable[..., Tenancy], database: URL, engine: Engine, rounds: int
) -> None:
    operator, unaware, listening = make_tenancy(), make_tenancy(cache_ttl=3600), make_tenancy(listen=True)
    for key in ("acme", "beta", "copy"):
        operator.create(key)
    operator.suspend("copy")
    mark_copy(operator, "acme", "copy")
    over = Event()
    with ThreadPoolExecutor() as pool, worker(database, write_elsewhere, "acme", "process", cache_ttl=3600) as process:
        writing = [
            pool.submit(write, tenancy, key, f"{key}-{number}", over.is_set)
            for number, tenancy in enumerate((unaware, unaware, listening))
            for key in ("acme", "beta")
        ]
        try:
            until(lambda: _has_of_process(engine, "t_acme"))
            for number in range(rounds):
                before = _last(engine)
                until(lambda before=before: _last(engine) > before + 10)
                swap(operator, "acme", "copy", back=number % 2 == 1)
            until(lambda: _has_of_process(engine, "t_copy"))
        finally:
            over.set()
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE public.over ()")
        results = [each.result() for each in writing]
        results.append(process.wait())
    assert [refused for _, refused in results[1:6:2]] == [0, 0, 0], "the neighbour saw a failed request"
    assert all(refused <= rounds for _, refused in results)
    assert sum(refused for _, refused in results) > 0
    assert all(written for written, _ in results)
    expected = Counter((schema, row) for written, _ in results for row, schema in written)
    found = Counter(
        (schema, row)
        for schema in ("t_acme", "t_beta", "t_copy")
        for row in _rows(engine, f"SELECT name FROM {schema}.project")
    )
    assert found == expected


def _rows(engine: Engine, query: str) -> list[str]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(query).scalars())


def _last(engine: Engine) -> int:
    """Return the number of rows of the tenant and its copy."""
    return len(_rows(engine, "SELECT name FROM t_acme.project UNION ALL SELECT name FROM t_copy.project"))


def _has_of_process(engine: Engine, schema: str) -> bool:
    return any(name.startswith("process-") for name in _rows(engine, f"SELECT name FROM {schema}.project"))
