"""TK003: a foreign key to a shared table is checked row by row while that table is locked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.actions import Action, Constraint


def key_is_checked(revision: Revision) -> Iterator[Problem]:
    """Find keys to shared tables whose rows are checked in the transaction that adds them."""
    if revision.scope != "tenant":
        return
    added: set[str] = set()
    for step, statement in revision.all_statements():
        table = statement.altered_table
        if table is None or table.name in revision.created:
            continue
        for action in statement.actions:
            for key in _keys(action):
                if not revision.schemas.is_shared(key.target):
                    continue
                if key.is_not_valid:
                    added |= {key.name} if key.name else set()
                    continue
                yield Problem(
                    step.lines,
                    f"Writes to {key.target} wait, for all tenants, while every row of {table.name} is checked "
                    "against it. Add the key with postgresql_not_valid=True, and validate it in a revision of its own.",
                )
            if action.kind == "ValidateConstraint" and action.name in added and not step.in_autocommit_block:
                yield Problem(
                    step.lines,
                    f"{action.name} is validated in the transaction that adds it, so the shared table stays locked "
                    "meanwhile. Validate it in a revision of its own.",
                )


def _keys(action: Action) -> Iterator[Constraint]:
    """Yield the foreign keys that an action adds and that have rows to check.

    A column that is added with a key but without a value holds nothing to check, and PostgreSQL knows it.
    """
    if action.constraint is not None and action.constraint.kind == "FOREIGN":
        yield action.constraint
    elif action.kind == "AddColumn" and action.column.has_value:
        yield from (each for each in action.column.constraints if each.kind == "FOREIGN")


RULE = Rule("TK003", "a key to a shared table is checked while that table is locked", key_is_checked)
