"""Refusal of statements in tenant revisions about objects that exist once in a database."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.sql_text import read_sql

_ADVICE = {
    "extension": (
        "Give it a schema that tenants' statements reach, such as CREATE EXTENSION ... SCHEMA extensions with "
        "Tenancy(..., extra_schemas=('extensions',))."
    ),
    "schema": "tenantkit creates the schemas of tenants, and a tenant revision has no other.",
}
_NAMES = {"owned": "role", "system": "configuration", "group": "role", "user": "role"}


@contextmanager
def refusing_what_exists_once(connection: Connection) -> Generator[None]:
    """Refuse statements about extensions, roles, schemas and the like on *connection* during a block.

    Only the first tenant's would succeed, and dropping that tenant could remove the object for all.
    """

    def refuse(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if (kind := read_sql(statement).once_per_database) is not None:
            name = _NAMES.get(kind, kind)
            text = (
                f"A tenant revision executes {_begin(statement)!r}, and the object ({name}) exists once in a "
                "database, not once for each tenant. Put it into a shared revision, which 'tenantkit revision "
                f"--shared' writes. {_ADVICE.get(kind, '')}"
            )
            raise ConfigurationError(text.rstrip())

    event.listen(connection, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", refuse)


def _begin(statement: str) -> str:
    """Return the first words of a statement, without literals, which may be a role's password."""
    words = " ".join(re.split(r"['$]", statement, maxsplit=1)[0].split())
    return words if len(words) <= 60 and words == statement.strip() else f"{words[:60]}..."  # noqa: PLR2004 - the length of a line
