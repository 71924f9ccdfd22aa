"""Explanations of errors of a login that lacks a privilege."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.errors import reason, sqlstate

_INSUFFICIENT_PRIVILEGE = "42501"
_RAISED = "exec_stmt_raise"
"""PostgreSQL's function for RAISE in PL/pgSQL, by which policies and triggers refuse rows with the same SQLSTATE."""


def lack_of_rights(error: BaseException, url: URL) -> str | None:
    """Return a sentence about the privilege that the login of *url* lacks; ``None`` for other errors."""
    if not isinstance(error, DBAPIError) or sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
        return None
    diagnostics: Any = getattr(error.orig, "diag", None)
    if getattr(diagnostics, "source_function", None) == _RAISED:
        return None
    login = "of this connection" if url.username is None else repr(url.username)
    return (
        f"the login {login} lacks a privilege ({as_clause(reason(error))}). Use the URL of the login that creates and "
        "migrates tenants"
    )


@contextmanager
def explaining_rights(url: URL) -> Generator[None]:
    """Turn errors of a login that lacks a privilege, in a block, into `ConfigurationError`."""
    try:
        yield
    except DBAPIError as error:
        if (problem := lack_of_rights(error, url)) is None:
            raise
        raise ConfigurationError(f"{problem[0].upper()}{problem[1:]}.") from error
