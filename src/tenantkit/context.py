"""The current tenant: a context variable."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

from tenantkit.arguments import optional, require
from tenantkit.exceptions import NoCurrentTenantError
from tenantkit.tenant import TENANT, Tenant

_TENANT = optional(TENANT)
_current: ContextVar[Tenant | None] = ContextVar("tenantkit_current_tenant", default=None)


def current_tenant() -> Tenant:
    """Return the current tenant.

    :raises NoCurrentTenantError: if there is none; there is no default tenant.
    """
    tenant = _current.get()
    if tenant is None:
        raise NoCurrentTenantError
    return tenant


def current_tenant_or_none() -> Tenant | None:
    """Return the current tenant, or ``None`` where code may run without one."""
    return _current.get()


@contextmanager
def tenant_context(tenant: Tenant | None) -> Generator[Tenant | None]:
    """Make *tenant* the current tenant for the duration of a block.

    Blocks nest, and leaving one, even by an exception, restores the tenant
    that was current before it. ``None`` makes a block without a tenant. The
    block does no I/O, so the same context manager serves threads and tasks
    alike. A thread starts with an empty context: enter a block inside it, or
    run it in a copied context as `asyncio.to_thread` does.

    :raises TypeError: if *tenant* is anything else, such as a key.
    """
    require(tenant=(tenant, _TENANT))
    token = _current.set(tenant)
    try:
        yield tenant
    finally:
        _current.reset(token)


def copy_context_for(tenant: Tenant | None) -> Context:
    """Return a copy of the current context in which *tenant* is current.

    Its ``run`` calls a function there, as often as needed, and nothing leaks out::

        pool.submit(copy_context_for(acme).run, export_invoices)

    :raises TypeError: if *tenant* is no tenant.
    """
    require(tenant=(tenant, _TENANT))
    context = copy_context()
    context.run(_current.set, tenant)
    return context
