"""The current tenant: a context variable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass

from tenantkit.arguments import optional, require
from tenantkit.exceptions import NoCurrentTenantError, TenantMismatchError
from tenantkit.tenant import TENANT, Tenant

_TENANT = optional(TENANT)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A block in which a tenant is current, and the block around it."""

    tenant: Tenant | None
    outer: _Block | None = None

    def is_within(self, other: _Block) -> bool:
        """Return whether this is *other* or a block in it."""
        block: _Block | None = self
        while block is not None and block is not other:
            block = block.outer
        return block is other


_NO_BLOCK = _Block(None)
_current: ContextVar[_Block] = ContextVar("tenantkit_current_tenant", default=_NO_BLOCK)


def current_tenant() -> Tenant:
    """Return the current tenant.

    :raises NoCurrentTenantError: if there is none; there is no default tenant.
    """
    tenant = _current.get().tenant
    if tenant is None:
        raise NoCurrentTenantError
    return tenant


def current_tenant_or_none() -> Tenant | None:
    """Return the current tenant, or ``None`` where code may run without one."""
    return _current.get().tenant


@contextmanager
def tenant_context(tenant: Tenant | None) -> Generator[Tenant | None]:
    """Make *tenant* the current tenant for the duration of a block.

    Blocks nest, and leaving one, even by an exception, restores the tenant
    that was current before it. ``None`` makes a block without a tenant. The
    block does no I/O, so the same context manager serves threads and tasks
    alike. A thread starts with an empty context: enter a block inside it, or
    run it in a copied context as `asyncio.to_thread` does. A generator has no
    context of its own: while a block in it waits at a ``yield``, the tenant is
    current for the caller, too.

    :raises TypeError: if *tenant* is anything else, such as a key.
    :raises TenantMismatchError: at the end, if that is in another context, as of an async generator that was abandoned.
    """
    require(tenant=(tenant, _TENANT))
    block = _Block(tenant, _current.get())
    token = _current.set(block)
    try:
        yield tenant
    finally:
        now = _current.get()
        try:
            _current.reset(token)
        except ValueError:
            raise _refuse_other_context(tenant) from None
        if not now.is_within(block):  # a block of a generator, which an outer block has ended before
            _current.set(now)


def _refuse_other_context(tenant: Tenant | None) -> TenantMismatchError:
    key = "none" if tenant is None else tenant.key
    return TenantMismatchError(
        key,
        None,
        f"A tenant_context() block for tenant {key!r} began in another context than it ends in, and {key!r} stays "
        "current there. That happens to a block around the yield of an async generator that is not read to its end, or "
        "of a dependency that runs in threads. Name the tenant in it: tenancy.session(tenant).",
    )


def copy_context_for(tenant: Tenant | None) -> Context:
    """Return a copy of the current context in which *tenant* is current.

    Its ``run`` calls a function there, as often as needed, and nothing leaks out::

        pool.submit(copy_context_for(acme).run, export_invoices)

    :raises TypeError: if *tenant* is no tenant.
    """
    require(tenant=(tenant, _TENANT))
    context = copy_context()
    context.run(_current.set, _Block(tenant))
    return context
