"""TK001: a statement for every tenant names a schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.whole_database import about_database
from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


def names_schema(revision: Revision) -> Iterator[Problem]:
    """Find schemas that are neither the tenant's nor shared in statements for every tenant."""
    if revision.scope != "tenant":
        return
    for step, statement in revision.statements():
        if about_database(statement) is not None:
            continue  # TK010 finds it
        for schema in sorted(statement.schemas):
            if revision.schemas.is_expected(schema):
                continue
            if schema == revision.schemas.placeholder:
                what = f"The placeholder {schema!r} is not translated in text, and no schema has this name."
            elif revision.schemas.is_tenant_schema(schema):
                what = f"This names {schema!r}, the schema of one tenant: every tenant's migration would work there."
            else:
                what = f"This names the schema {schema!r}: every tenant's migration would work there."
            yield Problem(
                step.lines, f"{what} Write names in text without a schema: search_path leads to the tenant's."
            )


RULE = Rule("TK001", "a statement for every tenant names a schema", names_schema)
