"""Explanations of errors of sessions that cannot work as their tenant's role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.binding import BINDING
from tenantkit.isolation.roles import SETTING
from tenantkit.postgres.errors import sqlstate

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

    from tenantkit.isolation.binding import Binding

_REASONS = {"22023": "does not exist", "42501": "may not be taken on by the login of the session"}
"""What errors of SET ROLE mean, by their SQLSTATE."""

_REPAIR = (
    "Run 'tenantkit doctor --repair' with the login that creates tenants: it makes the roles that guard= needs, and "
    "for guard='role' lets the logins of grant_to= take them on."
)
_OTHER_CONNECTION = "With guard='login', leave out bind=: the session's own connections log in as the role."
_OTHER_LOGIN = (
    "If the role was just made again, repeat this: older connections are closed now. Otherwise, a pooler has changed "
    "the login: for PgBouncer, leave out user= in [databases], and set auth_user and auth_query."
)


def explain_role(context: ExceptionContext) -> None:
    """Raise an error that says what to do if a transaction could not begin because of the tenant's role.

    The connections that have logged in as the role are closed: it may be another role of the same name now.

    :raises ConfigurationError: if so.
    """
    statement = context.execution_context
    binding: Binding | None = statement.execution_options.get(BINDING) if statement is not None else None
    role = dict(binding.settings).get(SETTING) if binding is not None else None
    error = context.original_exception
    reason = _REASONS.get(sqlstate(error) or "")
    if binding is None or role is None or reason is None or f'role "{role}"' not in str(error):
        return
    advice = _REPAIR
    if binding.login is not None:
        context.is_disconnect = context.engine is not None and context.engine.url.username == role
        if sqlstate(error) == "42501":
            advice = _OTHER_LOGIN if context.is_disconnect else _OTHER_CONNECTION
    raise ConfigurationError(f"The role {role!r} of tenant {binding.tenant.key!r} {reason}. {advice}") from error
