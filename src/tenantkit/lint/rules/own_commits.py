"""TK005: a revision mixes steps that commit separately with others, or has them in a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.statement import Statement

_ENDS = frozenset({"TRANS_STMT_COMMIT", "TRANS_STMT_PREPARE", "TRANS_STMT_ROLLBACK"})
_ALONE = frozenset({"AlterSystemStmt", "CreateTableSpaceStmt", "CreatedbStmt", "DropTableSpaceStmt", "DropdbStmt"})
"""Statements that cannot run in a transaction."""


def mixed_steps(revision: Revision) -> Iterator[Problem]:
    """Find steps that commit separately beside steps of the transaction, or in it."""
    writing = [step for step in revision.steps if not all(each.kind == "SelectStmt" for each in step.statements)]
    alone = [step for step in writing if step.in_autocommit_block]
    others = [step for step in writing if not step.in_autocommit_block]
    for step in others:
        if any(each.node.get("kind") in _ENDS for each in step.statements if each.kind == "TransactionStmt"):
            yield Problem(
                step.lines,
                "This ends the transaction, which only tenantkit may do, and is refused. Put statements that must be "
                "committed separately into op.get_context().autocommit_block().",
            )
        elif any(map(_runs_alone, step.all_statements)):
            yield Problem(
                step.lines,
                "This cannot run in a transaction, and fails for every tenant. Put it into 'with "
                "op.get_context().autocommit_block():', in a revision of its own.",
            )
    if alone and others:
        yield Problem(
            alone[0].lines,
            f"This is committed separately, with all steps before it; line {others[0].lines[0]} belongs to the "
            "transaction. If one of them fails for a tenant, the tenant has half of the revision. Put the block into "
            "a revision of its own.",
        )


def _runs_alone(statement: Statement) -> bool:
    match statement.kind:
        case "IndexStmt" | "DropStmt":
            return bool(statement.node.get("concurrent"))
        case "ReindexStmt":
            return "concurrently" in statement.options
        case "VacuumStmt":
            return bool(statement.node.get("is_vacuumcmd"))
        case "AlterTableStmt":
            return any(each.is_concurrent for each in statement.actions)
        case kind:
            return kind in _ALONE


RULE = Rule("TK005", "a revision mixes steps that commit separately with others", mixed_steps)
