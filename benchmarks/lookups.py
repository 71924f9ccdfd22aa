"""The time of a cached tenant lookup."""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter

from sqlalchemy import URL

from benchmarks.application import TENANT
from tenantkit.asyncio import AsyncTenancy

CALLS = 2_000


def measure(url: URL, tenant: str, *, samples: int) -> dict[str, float]:
    """Return the seconds of ``get`` for a cached tenant: the median of loops of calls."""
    with asyncio.Runner() as runner:
        tenancy = AsyncTenancy(url, tenant=TENANT.metadata, listen=False)
        runner.run(tenancy.get(tenant))
        taken = {
            "tenancy.get(key)": statistics.median(_sync(tenancy, tenant) for _ in range(samples)),
            "await tenancy.get(key)": statistics.median(runner.run(_async(tenancy, tenant)) for _ in range(samples)),
        }
        runner.run(tenancy.close())
    return taken


def _sync(tenancy: AsyncTenancy, tenant: str) -> float:
    get = tenancy.sync.get
    start = perf_counter()
    for _ in range(CALLS):
        get(tenant)
    return (perf_counter() - start) / CALLS


async def _async(tenancy: AsyncTenancy, tenant: str) -> float:
    start = perf_counter()
    for _ in range(CALLS):
        await tenancy.get(tenant)
    return (perf_counter() - start) / CALLS
