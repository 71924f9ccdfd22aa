"""TK000: a revision cannot be checked completely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy.exc import IdentifierError

from tenantkit.exceptions.base import as_clause
from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


def not_checked(revision: Revision) -> Iterator[Problem]:
    """Find code that cannot run without a database, and SQL that cannot be parsed."""
    for suspicion in revision.source.suspicions:
        if suspicion.kind == "connects":
            yield Problem(
                (suspicion.line,),
                f"upgrade() was not checked, because {suspicion.reason}, which would reach a real database. "
                "Use op.execute().",
            )
    for step, statement in revision.statements():
        for each in (statement, *statement.body):
            if each.error is not None:
                what = "statement" if each is statement else "body of a function or a DO"
                yield Problem(
                    step.lines,
                    f"The {what} was not checked, as PostgreSQL 17's parser does not read it: {each.error}.",
                )
    for step, body in revision.bodies():
        if body.unseen is not None:
            yield Problem(
                step.lines,
                f"Not all statements were checked, as {body.unseen}. Write them as they are, or build them by format() "
                "of constants and current_schema().",
            )
    error = revision.first.error
    if error is None or isinstance(error, IdentifierError):
        return
    if revision.first.outside:
        why = f"because it {revision.first.outside[-1].what}, which was prevented. Do that last"
    else:
        message = as_clause(f"{type(error).__name__}: {error}")
        why = (
            f"because it fails without a database, where queries find nothing: {message}. If it needs a row, "
            "handle the absence of the row"
        )
    yield Problem(revision.first.lines, f"upgrade() was not checked from here on, {why}.")


RULE = Rule("TK000", "the revision cannot be checked", not_checked)
