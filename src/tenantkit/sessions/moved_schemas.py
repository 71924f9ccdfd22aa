"""Errors of sessions whose tenant's schema was renamed, or replaced by another, while they were open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event

from tenantkit.exceptions import TenantMovedError
from tenantkit.isolation.binding import BINDING
from tenantkit.isolation.fence import MOVED
from tenantkit.postgres.errors import sqlstate

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

    from tenantkit.isolation.binding import Binding

_MISSING = frozenset({"3F000", "42P01"})
"""SQLSTATEs of statements that find no schema or no table."""


def look_up_after_errors(engine: Engine, forget: Callable[[str], object]) -> None:
    """Have a tenant looked up again after a statement did not find a table, or was refused by the fence of former ones.

    A schema that was renamed has another name now, and no other schema ever gets the former one: the error of such a
    statement gets a note. A statement that was to write to former tables raises `TenantMovedError`.

    :param forget: removes the tenant with a key from the memory of this process.
    """

    def explain(context: ExceptionContext) -> None:
        statement = context.execution_context
        binding: Binding | None = statement.execution_options.get(BINDING) if statement is not None else None
        state = sqlstate(context.original_exception)
        if binding is None or (state != MOVED and state not in _MISSING):
            return
        key, schema = binding.tenant.key, binding.tenant.schema
        forget(key)
        if state == MOVED:
            raise TenantMovedError(key, binding.tenant.status) from context.original_exception
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.add_note(
                f"The session of tenant {key!r} used the schema {schema!r}. If that was renamed meanwhile, repeat the "
                "work in a new session: the tenant is looked up again."
            )

    event.listen(engine, "handle_error", explain)
