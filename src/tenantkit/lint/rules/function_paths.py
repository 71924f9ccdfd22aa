"""TK008: a function finds tables by the `search_path` of its caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.lint.sql.tree import walk
from tenantkit.naming import first_lines

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.statement import Statement


def path_is_missing(revision: Revision) -> Iterator[Problem]:
    """Find functions that name tables without a schema and do not set their `search_path`."""
    for step, statement in revision.statements():
        if statement.kind == "CreateFunctionStmt" and not _has_path(statement) and (names := _looked_up(statement)):
            yield Problem(
                step.lines,
                f"The function looks up {first_lines(names)} when it runs, and search_path may differ then. "
                "Create it with SET search_path FROM CURRENT.",
            )


def _has_path(statement: Statement) -> bool:
    return any(node.get("name") == "search_path" for node in walk(statement.node))


def _looked_up(statement: Statement) -> set[str]:
    """Return the tables that a function names without a schema, and does not create itself."""
    nodes = [node for each in statement.body for node in walk(each.node)]
    own = {each.creates.name for each in statement.body if each.creates is not None}
    own |= {node["ctename"] for node in nodes if "ctename" in node}
    return {node["relname"] for node in nodes if "relname" in node and "schemaname" not in node} - own


RULE = Rule("TK008", "a function does not find its tables", path_is_missing)
