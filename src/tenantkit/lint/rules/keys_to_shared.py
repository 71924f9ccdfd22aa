"""TK003: a foreign key to a shared table is checked row by row while that table is locked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenantkit.lint.rules.rule import Problem, Rule

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision


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
            for key in action.foreign_keys:
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
                    f"{action.name} is validated in the transaction that adds it, so the shared table stays locked. "
                    "Validate it in a revision of its own.",
                )


RULE = Rule("TK003", "a key to a shared table is checked while that table is locked", key_is_checked)
