"""Data flow in a revision's Python: whether the value of a call can reach the database."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

_TELLING = frozenset({"critical", "debug", "error", "exception", "info", "log", "print", "warn", "warning"})
"""Functions and methods that only print or log."""


def is_used(call: ast.expr, roots: Sequence[ast.stmt]) -> bool:
    """Return whether the statements of *roots* may use the value of *call*, except for output.

    Names are followed from assignment to assignment, in all functions.
    """
    statements = [each for root in roots for each in _simple(root)]
    waiting = [each for each in statements if any(node is call for node in ast.walk(each))]
    seen: set[int] = set()
    while waiting:
        statement = waiting.pop()
        if id(statement) in seen:
            continue
        seen.add(id(statement))
        match statement:
            case ast.Expr(value=value) if value is call or _tells(value):
                continue
            case ast.Assign(targets=targets) if all(isinstance(each, ast.Name) for each in targets):
                names = {each.id for each in targets if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
                names = {name}
            case _:
                return True
        waiting += [each for each in statements if names & {*_read(each)}]
    return False


def _simple(root: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements of *root*; of one that has a body, its head, such as a condition, as an expression."""
    for node in ast.walk(root):
        if not isinstance(node, ast.stmt):
            continue
        if not hasattr(node, "body"):
            yield node
        else:
            yield from (each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.stmt))


def _read(node: ast.AST) -> Iterator[str]:
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Store))


def _tells(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in _TELLING
        case _:
            return False
