"""Text that operations of other packages send, such as those of alembic_utils and alembic-postgresql-enum.

They write the schema that a revision gives them, which is the placeholder, into SQL of their own. No map translates
text, and that of a revision itself is taken literally; but here the placeholder can mean nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic.operations import base
from sqlalchemy import Connection, event

from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from types import FrameType

SCRATCH = "tenantkit_autogenerate"
"""The placeholder in such operations where tenant tables have no schema: that of the schema that autogenerate reads."""

_KNOWN = ("alembic.", "tenantkit.")
"""Where the operations are whose constructs are adapted as such."""


@contextmanager
def translating_text(connection: Connection, placeholder: str | None, schema: str) -> Generator[None]:
    """Have what other packages' operations send on *connection* name *schema* for *placeholder*."""
    written = placeholder or SCRATCH
    if schema == written:  # autogenerate's own
        yield
        return
    # Behind another name or in one, it is something else; an operator may follow, too.
    name = rf'(?<![\w.$"])(?:{re.escape(quote_identifier(written))}|(?i:{re.escape(written)}))\.(?=[^\s*])'
    pattern = re.compile(name)

    def before_cursor_execute(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, *_many: bool
    ) -> tuple[str, Any]:
        if pattern.search(statement) and _is_of_another_package(sys._getframe(1)):  # noqa: SLF001 - the public way
            statement = pattern.sub(lambda _: f"{quote_identifier(schema)}.", statement)
        return statement, parameters

    event.listen(connection, "before_cursor_execute", before_cursor_execute, retval=True, insert=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before_cursor_execute)


def _is_of_another_package(frame: FrameType) -> bool:
    return any(not kind.__module__.startswith(_KNOWN) for kind in _operations(frame))


def _operations(frame: FrameType | None) -> Iterator[type]:
    """Yield the operations that are being performed, by what Alembic calls: a function for each, and `invoke`."""
    while frame is not None:
        if frame.f_globals.get("__name__") == base.__name__:
            if "op_cls" in frame.f_globals:
                yield frame.f_globals["op_cls"]
            elif frame.f_code is base.Operations.invoke.__code__:
                yield type(frame.f_locals["operation"])
        frame = frame.f_back
