"""The limit: the finished SQL, one string and one transaction for each tenant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import psycopg

from tenantkit.postgres.quoting import quote_identifier

Script = Callable[[str], str]
"""Returns the SQL for a schema."""


def in_schema(transaction: str) -> Script:
    """Return a function that adds a schema to *transaction*, which has none."""
    begin, _, rest = transaction.partition("BEGIN;")
    assert not begin
    return lambda schema: f"BEGIN; SET LOCAL search_path = {quote_identifier(schema)}; {rest}"


def replay(dsn: str, script: Script, schemas: Sequence[str], *, connections: int, waits: bool = True) -> None:
    """Send the SQL of each schema to the server, over new connections, each in a thread.

    :param waits: whether each commit waits for the disk.
    """
    commits = "on" if waits else "off"
    todo: SimpleQueue[str] = SimpleQueue()
    for schema in schemas:
        todo.put(schema)

    def work() -> None:
        with psycopg.connect(
            dsn, autocommit=True, prepare_threshold=None, options=f"-c synchronous_commit={commits}"
        ) as connection:
            while True:
                try:
                    schema = todo.get_nowait()
                except Empty:
                    return
                connection.execute(script(schema).encode())

    with ThreadPoolExecutor(connections) as threads:
        for done in [threads.submit(work) for _ in range(connections)]:
            done.result()
