"""Translation of the placeholder in SQL text of other packages, such as alembic_utils and alembic-postgresql-enum.

Their operations write the schema that a revision gives them, the placeholder, into SQL text. No map translates
text, and a revision's own text is taken literally; but here the placeholder has only one possible meaning.
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
"""The placeholder in such operations where tenant tables have no schema: the name of autogenerate's schema."""

_KNOWN = ("alembic.", "tenantkit.")
"""Packages whose operations use constructs of SQLAlchemy, which are adapted elsewhere."""


@contextmanager
def translating_text(connection: Connection, placeholder: str | None, schema: str) -> Generator[None]:
    """Replace *placeholder* by *schema* in the text that other packages' operations send on *connection*."""
    written = placeholder or SCRATCH
    if schema == written:  # autogenerate's own
        yield
        return
    # Within a name, or after another name, it is not the schema; an operator may follow.
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
    """Yield the operations in progress, found by the functions that Alembic calls: one for each, and `invoke`."""
    while frame is not None:
        if frame.f_globals.get("__name__") == base.__name__:
            if "op_cls" in frame.f_globals:
                yield frame.f_globals["op_cls"]
            elif frame.f_code is base.Operations.invoke.__code__:
                yield type(frame.f_locals["operation"])
        frame = frame.f_back
