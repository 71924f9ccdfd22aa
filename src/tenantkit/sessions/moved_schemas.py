"""Errors of sessions whose tenant's schema was renamed, or moved, while they were open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event

from tenantkit.isolation.binding import BINDING
from tenantkit.postgres.errors import sqlstate

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

    from tenantkit.isolation.binding import Binding

_MISSING = frozenset({"3F000", "42P01"})
"""SQLSTATEs of statements that find no schema or no table."""


def look_up_after_errors(engine: Engine, forget: Callable[[str], object]) -> None:
    """Have a tenant looked up again after a statement did not find a table: its schema may have another name now.

    No other schema ever gets the former name, so such a statement fails. The error gets a note.

    :param forget: removes the tenant with a key from the memory of this process.
    """

    def explain(context: ExceptionContext) -> None:
        statement = context.execution_context
        binding: Binding | None = statement.execution_options.get(BINDING) if statement is not None else None
        if binding is None or sqlstate(context.original_exception) not in _MISSING:
            return
        key, schema = binding.tenant.key, binding.tenant.schema
        forget(key)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.add_note(
                f"The session of tenant {key!r} used the schema {schema!r}. If that was renamed meanwhile, repeat the "
                "work in a new session: the tenant is looked up again."
            )

    event.listen(engine, "handle_error", explain)
