"""Reader of the shapes of many schemas, with limits for memory, locks and waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Result, Row, TextClause
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from tenantkit.cancellation import current
from tenantkit.drift.catalog.dependencies import SELECT_DEPENDENCIES, Detail, assemble
from tenantkit.drift.catalog.queries import COUNT_LOCKS, select_hashes, select_items
from tenantkit.drift.catalog.shape import Item, Key, Kind, Shape
from tenantkit.isolation.mentions import find_mentions
from tenantkit.migrations.tasks.connections import cancel
from tenantkit.postgres.errors import is_lock_conflict, sqlstate

_SCHEMAS_AT_ONCE = 250
"""Number of schemas that one connection reads: of 40 tables each, they make a backend grow by 70 MB, as measured."""
_DETAILS_AT_ONCE = 20
"""Number of schemas whose dependencies are in memory at a time: about 3,000 rows for 40 tables."""
_LOCKS_AT_ONCE = 1_000
"""Maximum number of locks of a transaction: by default, a server has about 6,400 for all sessions."""
_CONNECTIONS = 2
_INTERNAL_ERROR = "XX000"
"""The SQLSTATE for an object that was dropped after its row had been read."""
_LOCK_TIMEOUT = "200ms"
"""Less than the second after which a server looks for deadlocks, so that the check gives up, never others' DDL."""
_RETRY_FOR = 60
"""Seconds for which a read is repeated after a conflict with DDL."""

_Found = TypeVar("_Found")


def read_hashes(engine: Engine, schemas: Collection[str]) -> dict[str, int]:
    """Return a hash for each of *schemas* that exists, equal for two of them if their shapes are equal."""
    hashes = dict.fromkeys(schemas, 0)
    for found in _read(engine, schemas, _hashes):
        for schema, number in found.items():
            hashes[schema] ^= number
    return hashes


def read_shapes(engine: Engine, schemas: Collection[str]) -> dict[str, Shape]:
    """Return the shapes of *schemas*."""
    shapes: dict[str, Shape] = {schema: {} for schema in schemas}
    for found in _read(engine, schemas, _shapes):
        for schema, shape in found.items():
            shapes[schema] = {**shapes[schema], **shape}
    return shapes


def hash_of(connection: Connection, schema: str) -> int:
    """Return the hash of one schema as the current transaction sees it."""
    number = 0
    for locking in (False, True):
        number ^= _hashes(connection, [schema], locking=locking).get(schema, 0)
    return number


def shape_of(connection: Connection, schema: str) -> Shape:
    """Return the shape of one schema as the current transaction sees it."""
    shape: Shape = {}
    for locking in (False, True):
        shape = {**shape, **_shapes(connection, [schema], locking=locking).get(schema, {})}
    return shape


def detail_of(connection: Connection, schema: str) -> Detail:
    """Return the shape and the dependencies of one schema as the current transaction sees it."""
    shape = shape_of(connection, schema)
    return Detail(shape, assemble(_rows(connection, SELECT_DEPENDENCIES, [schema]), shape))


def read_details(engine: Engine, schemas: Collection[str]) -> Iterator[tuple[str, Detail]]:
    """Yield each of *schemas* with its shape and dependencies."""
    for batch in _batches(dict.fromkeys(schemas, 1), _DETAILS_AT_ONCE):
        rows = defaultdict[str, list[Row[Any]]](list)
        for found in _read(engine, batch, _dependencies):
            rows.update(found)
        for schema, shape in read_shapes(engine, batch).items():
            yield schema, Detail(shape, assemble(rows[schema], shape))


def _dependencies(connection: Connection, schemas: Collection[str], *, locking: bool) -> dict[str, list[Row[Any]]]:
    rows = defaultdict[str, list[Row[Any]]](list)
    for row in () if locking else _rows(connection, SELECT_DEPENDENCIES, schemas):
        rows[row.schema].append(row)
    return rows


def _hashes(connection: Connection, schemas: Collection[str], *, locking: bool) -> dict[str, int]:
    return {row.schema: row.hash for row in _rows(connection, select_hashes(locking=locking), schemas)}


def read_names_in_text(engine: Engine, schema: str) -> list[str]:
    """Return what names *schema* in text and prevents that it is renamed."""

    def read() -> list[str]:
        with _reading(engine) as connection:
            return [each.what for each in find_mentions(connection, schema) if each.obstructs]

    names: list[str] = _patient()(read)
    return names


def _shapes(connection: Connection, schemas: Collection[str], *, locking: bool) -> dict[str, dict[Key, Item]]:
    shapes: defaultdict[str, dict[Key, Item]] = defaultdict(dict)
    for row in _rows(connection, select_items(locking=locking), schemas):
        key = Key(Kind(row.kind), row.parent, row.name)
        shapes[row.schema][key] = Item(key, tuple(row.compared), tuple(row.written), row.position)
    return dict(shapes)


def _rows(connection: Connection, query: TextClause, schemas: Collection[str]) -> Result[Any]:
    """Execute a query with a path of its own: on the path of the previous one, tenants could shadow its names."""
    connection.exec_driver_sql("SET LOCAL search_path = pg_catalog, pg_temp")
    connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
    connection.exec_driver_sql("SET LOCAL random_page_cost = 1.1")  # catalogs are in memory
    connection.exec_driver_sql("SET LOCAL jit = off")  # it takes longer to compile these queries than to run them
    return connection.execute(query, {"schemas": list(schemas)})


def _read(engine: Engine, schemas: Collection[str], read: Callable[..., _Found]) -> Iterator[_Found]:
    """Yield the results of *read*, some schemas at a time, on two connections that are not used again."""
    with _reading(engine) as connection:
        locks = {row.schema: row.locks for row in _rows(connection, COUNT_LOCKS, schemas)}

    def read_batch(locking: bool, some: list[str]) -> _Found:  # noqa: FBT001 - by `map`
        with _reading(engine) as connection:
            return read(connection, some, locking=locking)

    patient = _patient().wraps(read_batch)
    batches = [(False, batch) for batch in _batches(dict.fromkeys(schemas, 1), _SCHEMAS_AT_ONCE)]
    batches += [(True, batch) for batch in _batches(locks, _LOCKS_AT_ONCE)]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        yield from pool.map(patient, *zip(*batches, strict=True))


def _patient() -> Retrying:
    return Retrying(
        retry=retry_if_exception(lambda error: sqlstate(error) == _INTERNAL_ERROR or is_lock_conflict(error)),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(_RETRY_FOR),
        reraise=True,
    )


@contextmanager
def _reading(engine: Engine) -> Generator[Connection]:
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        connection.detach()  # so that it is closed, with its cache of the catalog
        with current().cancelling(partial(cancel, connection)):
            yield connection


def _batches(weights: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Divide names into lists that each weigh at most *limit*, or have one name."""
    batch, total = list[str](), 0
    for name, weight in weights.items():
        if batch and total + weight > limit:
            yield batch
            batch, total = [], 0
        batch.append(name)
        total += weight
    if batch:
        yield batch
