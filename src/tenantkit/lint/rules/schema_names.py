"""TK001: a statement for every tenant names a schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.analysis.whole_database import about_database
from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.lint.sql.expressions import constant
from tenantkit.lint.sql.tree import find, parts

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.statement import Statement


def names_schema(revision: Revision) -> Iterator[Problem]:
    """Find schemas that are neither the tenant's nor shared in statements for every tenant."""
    if revision.scope != "tenant":
        return
    for step, statement in revision.statements():
        if about_database(statement) is not None:
            continue  # TK010 finds it
        for schema in sorted({*statement.schemas, *filter(revision.schemas.is_tenant_schema, _in_texts(statement))}):
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


def _in_texts(statement: Statement) -> Iterator[str]:
    """Yield the first part of each text in arguments of triggers, options of tables and settings of functions."""
    values = [each.get("arg") for each in find(statement.node, "DefElem")]
    settings = (value for each in find(statement.node, "VariableSetStmt") for value in each.get("args", ()))
    texts = [*parts(statement.node.get("args")), *(part for value in values for part in parts(value))]
    texts += [value for value in map(constant, settings) if isinstance(value, str)]
    yield from (each.partition(".")[0].strip('"') for each in texts)


RULE = Rule("TK001", "a statement for every tenant names a schema", names_schema)
