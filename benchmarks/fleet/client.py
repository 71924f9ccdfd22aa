"""A client of every tenant: it reads and writes at a constant rate until its input ends, and prints the times.

It is a process of its own, so that it shares no interpreter with the migration. Requests are due at fixed times,
whether or not earlier ones are done, and timed from then, so that the delay by an earlier request is included.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, insert, select

from benchmarks.fleet.application import fleet_of_environment
from benchmarks.fleet.build import ROWS
from benchmarks.fleet.models import declare, table_name
from tenantkit import Tenancy


@dataclass(frozen=True)
class Client:
    """The data of requests, which read from one table and write to another, which references it."""

    tenancy: Tenancy
    read: Table
    written: Table

    def request(self, key: str, row: int) -> None:
        """Read a row of a tenant and insert one."""
        with self.tenancy.session(key) as session:
            name = session.execute(select(self.read.c.name).where(self.read.c.id == row)).scalar_one()
            session.execute(insert(self.written).values(name=name, parent_id=row))
            session.commit()


def main(rate: float, threads: int, table: int) -> None:
    """Serve until the input ends; the output is a line after the warm-up, then one of JSON."""
    fleet = fleet_of_environment()
    tenancy = fleet.tenancy(engine_options={"pool_size": threads}, cache_ttl=3600)
    tables = declare("tenant", fleet.tables).tables
    read, written = (tables[f"tenant.{table_name(number)}"] for number in (table, table + 1))
    client = Client(tenancy, read, written)
    keys = random.Random(7).sample(fleet.keys, fleet.tenants)  # noqa: S311 - an order, not a secret
    stop = threading.Event()

    def warm_up(first: int) -> None:
        for key in keys[first::threads]:
            client.request(key, 1)

    served: list[tuple[float, float, str | None]] = []

    def serve(first: int) -> None:
        number = first
        while not stop.is_set():
            due = start + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            error: str | None = None
            try:
                client.request(keys[number % len(keys)], number % ROWS + 1)
            except Exception as caught:  # noqa: BLE001 - failed requests are counted
                error = f"{type(caught).__name__}: {caught}"
            served.append((due, time.monotonic() - due, error))
            number += threads

    _together(threads, warm_up)
    print("warm", flush=True)
    start = time.monotonic()
    threading.Thread(target=_wait_for_the_end, args=(stop,), daemon=True).start()
    _together(threads, serve)
    tenancy.close()
    print(json.dumps(served))


def _wait_for_the_end(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _together(count: int, work: Callable[[int], Any]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
