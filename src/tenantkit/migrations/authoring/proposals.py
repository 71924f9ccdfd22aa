"""The phase proposed for a new revision, derived from the operations that autogenerate found."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from alembic.operations import ops
from sqlalchemy.dialects.postgresql.base import PGDialect

from tenantkit.migrations.authoring.widening import takes_all

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from tenantkit.migrations.planning.phases import Phase

_PLACE = re.compile(r"^(?:depends_on|branch_labels|down_revision)\b[^\n=]*=.*\n", re.MULTILINE)
_SPLIT = """\
# It adds and takes away: what it adds is not there before the new code. Make two revisions of it, one for each phase.
"""


def propose(operations: Iterable[ops.MigrateOperation]) -> tuple[Phase, bool]:
    """Return the phase that fits *operations*, and whether some of them belong to the other one.

    Operations that remove something decide: applied too early, they break running code.
    """
    several = list(_flat(operations))
    new = {
        (each.table_name, each.column.name)
        for each in several
        if isinstance(each, ops.AddColumnOp) and each.column.server_default is None
    }
    kinds = {_contracts(operation, new) for operation in several}
    return ("contract" if True in kinds else "expand"), kinds == {True, False}


def with_phase(text: str, phase: Phase, *, is_mixed: bool = False) -> str:
    """Return the *text* of a new revision, of any template, with its *phase* below its other variables."""
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


def _contracts(operation: ops.MigrateOperation, new: Collection[tuple[str, str]]) -> bool | None:
    """Return whether *operation* removes or forbids something; ``None`` if it does not affect code.

    A constraint on columns in *new* holds for rows of code that does not know them, because they are NULL there.
    """
    match operation:
        case (
            ops.CreateForeignKeyOp(source_table=table, local_cols=columns)
            | ops.CreateUniqueConstraintOp(table_name=table, columns=columns)
            | ops.CreateIndexOp(table_name=table, columns=columns, unique=True)
        ):
            return None if any((table, str(column)) in new for column in columns) else True
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
        operation.modify_type is not None and not takes_all(operation.existing_type, _spelled(operation.modify_type)),
        operation.modify_name is not None,
        operation.modify_nullable is False,
        operation.modify_server_default is None and _is_default(operation.existing_server_default),
    )
    if any(takes):
        return True
    return False if operation.modify_nullable or _is_default(operation.modify_server_default) else None


def _spelled(kind: TypeEngine[Any]) -> str:
    return kind.compile(dialect=PGDialect())  # type: ignore[no-untyped-call]


def _is_default(default: object) -> bool:
    return default is not None and default is not False
