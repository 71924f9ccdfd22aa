"""TK002: a tenant revision changes shared tables, or a shared one those of tenants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


def wrong_line(revision: Revision) -> Iterator[Problem]:
    """Find changes of objects of the other side."""
    schemas = revision.schemas
    for step, statement in revision.all_statements():
        if revision.scope == "tenant":
            for name in filter(schemas.is_shared, statement.changes):
                yield Problem(
                    step.lines,
                    f"A tenant revision changes {name}, which is shared: each tenant's migration would repeat it, "
                    "and wait for the others. Do it in a shared revision.",
                )
            continue
        others = [str(name) for name in statement.changes if schemas.is_of_tenants(name)]
        others += [
            name
            for name in sorted(statement.schemas if statement in step.statements else ())
            if name == schemas.placeholder or schemas.is_tenant_schema(name)
        ]
        if others:
            yield Problem(
                step.lines,
                f"A shared revision names {others[0]}, a table of tenants: it runs once, in no tenant's schema. "
                "Do it in a tenant revision.",
            )


RULE = Rule("TK002", "a revision changes objects of the other side", wrong_line)
