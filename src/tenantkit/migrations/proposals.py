"""The phase that a new revision proposes for itself, from the operations that autogenerate found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from alembic.operations import ops

if TYPE_CHECKING:
    from tenantkit.migrations.phases import Phase

_PLACE = re.compile(r"^(?:depends_on|branch_labels|down_revision)\b[^\n=]*=.*\n", re.MULTILINE)
_SPLIT = """\
# It adds and takes away: what it adds is not there before the new code. Make two revisions of it, one for each phase.
"""


def propose(operations: Iterable[ops.MigrateOperation]) -> tuple[Phase, bool]:
    """Return the phase that fits *operations*, and whether some of them belong to the other one.

    What takes something away decides: applied too early it breaks the code that runs.
    """
    kinds = {_contracts(operation) for operation in _flat(operations)}
    return ("contract" if True in kinds else "expand"), kinds == {True, False}


def with_phase(text: str, phase: Phase, *, is_mixed: bool = False) -> str:
    """Return the *text* of a new revision with its *phase*, below its other variables, whatever the template is."""
    place = max((found.end() for found in _PLACE.finditer(text)), default=None)
    if place is None:
        return text
    line = f'{_SPLIT if is_mixed else ""}phase: str | None = "{phase}"\n'
    return text[:place] + line + text[place:]


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


def _contracts(operation: ops.MigrateOperation) -> bool | None:
    """Return whether *operation* takes something away; ``None`` for what does not matter to code."""
    match operation:
        case ops.DropTableOp() | ops.DropColumnOp() | ops.RenameTableOp():
            return True
        case ops.AddColumnOp(column=column):
            has_value = column.server_default is not None or column.computed is not None or column.identity is not None
            return not (column.nullable or has_value)
        case ops.AlterColumnOp():
            return _alters(operation)
        case ops.DropIndexOp() | ops.DropConstraintOp() | ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            return None
        case _:  # also operations of other packages
            return type(operation).__name__.startswith("Drop")


def _alters(operation: ops.AlterColumnOp) -> bool | None:
    takes = (
        operation.modify_type is not None,
        operation.modify_name is not None,
        operation.modify_nullable is False,
        operation.modify_server_default is None and _is_default(operation.existing_server_default),
    )
    if any(takes):
        return True
    return False if operation.modify_nullable or _is_default(operation.modify_server_default) else None


def _is_default(default: object) -> bool:
    return default is not None and default is not False
