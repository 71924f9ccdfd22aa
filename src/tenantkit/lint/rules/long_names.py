"""TK004: PostgreSQL would truncate a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy.exc import IdentifierError

from tenantkit.exceptions.base import as_clause
from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.naming import MAX_IDENTIFIER_BYTES

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


def long_name(revision: Revision) -> Iterator[Problem]:
    """Find names that are longer than PostgreSQL's own limit."""
    for step, statement in revision.statements():
        for name in statement.long_names:
            yield Problem(
                step.lines,
                f"{name!r} has {len(name.encode())} bytes, and PostgreSQL truncates names to {MAX_IDENTIFIER_BYTES}: "
                "two that begin alike clash, and no catalog query finds it by this name. Choose a shorter one.",
            )
    if isinstance(revision.first.error, IdentifierError):
        yield Problem(revision.first.lines, f"{as_clause(revision.first.error)}. Choose a shorter name.")


RULE = Rule("TK004", "PostgreSQL would truncate a name", long_name)
