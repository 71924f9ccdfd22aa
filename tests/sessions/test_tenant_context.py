"""Blocks in which a tenant is current end in any order, as those of generators do, without another tenant left current."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator
from contextvars import copy_context
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkit import (
    NoCurrentTenantError,
    Placement,
    Status,
    Tenant,
    TenantMismatchError,
    current_tenant,
    tenant_context,
)
from tenantkit.context import current_tenant_or_none

TENANTS = [
    Tenant(
        id=number,
        key=key,
        name=key,
        status=Status.ACTIVE,
        placement=Placement("main", f"t_{key}"),
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
    )
    for number, key in enumerate(["acme", "beta", "gamma"])
]
ACME, BETA, GAMMA = TENANTS


def block(tenant: Tenant | None) -> Generator[None]:
    with tenant_context(tenant):
        yield
        yield


SOME = st.sampled_from([None, *TENANTS])


@given(SOME, st.lists(SOME | st.integers(0, 5), max_size=10), st.permutations(range(10)))
def test_blocks_of_generators_that_end_in_any_order_leave_the_tenant_from_before(
    before: Tenant | None, steps: list[Tenant | int | None], order: list[int]
) -> None:
    """A step begins a block, or ends one of those that have begun."""
    with tenant_context(before):
        begun: list[Generator[None]] = []
        for step in steps:
            if not isinstance(step, int):
                begun.append(block(step))
                next(begun[-1])
            elif begun:
                begun.pop(step % len(begun)).close()
        for place in order:
            if place < len(begun):
                begun[place].close()
        assert current_tenant_or_none() is before
    assert current_tenant_or_none() is None


def test_a_block_ends_with_the_one_around_it() -> None:
    outer, inner = block(ACME), block(BETA)
    next(outer)
    next(inner)
    outer.close()
    with pytest.raises(NoCurrentTenantError):
        current_tenant()
    with tenant_context(GAMMA):
        inner.close()
        assert current_tenant() is GAMMA


@pytest.mark.all_cases
def test_an_async_generator_that_is_abandoned_says_so() -> None:
    async def rows() -> AsyncGenerator[int]:
        with tenant_context(ACME):
            yield 1
            yield 2

    async def use() -> list[str]:
        raised: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, found: raised.append(str(found.get("exception"))))
        async for _ in rows():
            break
        for _ in range(5):
            gc.collect()
            await asyncio.sleep(0)
        return raised

    (message,) = asyncio.run(use())
    assert message.startswith("A tenant_context() block for tenant 'acme' began in another context")
    assert current_tenant_or_none() is None


@pytest.mark.parametrize("tenant", [None, ACME])
def test_a_block_that_ends_in_another_context_says_what_to_do(tenant: Tenant | None) -> None:
    generator = block(tenant)
    copy_context().run(next, generator)
    with tenant_context(BETA):
        with pytest.raises(TenantMismatchError, match=r"Name the tenant in it: tenancy.session\(tenant\)"):
            copy_context().run(generator.close)
        assert current_tenant() is BETA
