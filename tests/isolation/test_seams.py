"""Nothing above `isolation` and `databases` assumes that a tenant is a schema in the one database."""

from __future__ import annotations

import ast
from pathlib import Path

import tenantkit

NAMES = frozenset({"isolation", "database"})
"""Attributes whose value is the name of an isolation or of a database."""


def _compares(node: ast.AST) -> bool:
    if isinstance(node, ast.Match):
        return _is_name(node.subject)
    if not isinstance(node, ast.Compare):
        return False
    return any(map(_is_name, (node.left, *node.comparators)))


def _is_name(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in NAMES) or (
        isinstance(node, ast.Name) and node.id == "MAIN_DATABASE"
    )


def test_no_module_outside_of_isolation_and_databases_compares_their_names() -> None:
    root = Path(tenantkit.__file__).parent
    modules = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in {"isolation", "databases"}]
    assert len(modules) > 200
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.Match) and _compares(node)
    ]
    assert found == []
