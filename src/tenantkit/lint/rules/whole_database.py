"""TK010: a tenant revision creates or changes an object that exists once in the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.whole_database import about_database
from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision

_CONSEQUENCES = {
    "create extension": (
        "the first has it in its own schema, where no other tenant finds it, and where it is dropped with that tenant"
    ),
    "create schema": "tenantkit creates the schemas of tenants, and this one would be shared by all of them",
}


def exists_once(revision: Revision) -> Iterator[Problem]:
    """Find statements about extensions, roles, schemas and the like."""
    if revision.scope != "tenant":
        return
    for step, statement in revision.all_statements():
        if (what := about_database(statement)) is not None:
            yield Problem(
                step.lines,
                f"{what.upper()} concerns the whole database, and a tenant revision runs once for each tenant: "
                f"{_CONSEQUENCES.get(what, 'the first does it for all, and the others fail or do it again')}. "
                "Do it in a shared revision.",
            )


RULE = Rule("TK010", "the object exists once in the database", exists_once)
