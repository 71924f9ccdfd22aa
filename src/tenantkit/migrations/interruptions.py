"""Going on where a revision was interrupted outside of its transaction, after part of it was done for good.

``CREATE INDEX CONCURRENTLY`` and the like are done before the version table can say so. A process that dies in between
would leave a tenant that has the index and, as far as is known, not the revision; it would fail for ever. So a
comment on the version table says that such steps have begun, from the transaction before them to that which writes the
new version; where it is found, those steps are taken to be done if what they make is there.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, TextClause, event, text
from sqlalchemy.schema import CreateIndex, DropIndex

from tenantkit.naming import quote_identifier, quote_literal

_MARK = "tenantkit: steps outside of a transaction have begun"

_FIND = text(
    """
    SELECT obj_description(pg_class.oid, 'pg_class') = :mark FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(:schema)) AND relname = 'alembic_version'
    """
)

_CREATES = re.compile(
    r"^(\s*(?:CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY|ALTER\s+TYPE\s+\S+\s+ADD\s+VALUE))\s+(?!IF\b)", re.IGNORECASE
)
_DROPS = re.compile(r"^(\s*DROP\s+INDEX\s+CONCURRENTLY)\s+(?!IF\b)", re.IGNORECASE)


class Interruption:
    """What is known of steps outside of a transaction that began, in one schema, and may not have ended."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._is_marked = False

    @contextmanager
    def tolerated(self) -> Generator[None]:
        """Have steps that were interrupted before take what is there for their own, for the duration of a block."""
        is_in_callers = self._connection.in_transaction()
        self._is_marked = bool(self._connection.execute(_FIND, {"mark": _MARK, "schema": self._schema}).scalar())
        if not is_in_callers:
            self._connection.rollback()
        if not self._is_marked:
            yield
            return
        event.listen(self._connection, "before_execute", self._adapt, retval=True)
        try:
            yield
        finally:
            event.remove(self._connection, "before_execute", self._adapt)

    def expect(self) -> None:
        """Write down, in the transaction before them, that steps outside of one begin."""
        if not self._is_marked:
            self._comment(quote_literal(_MARK))
            self._is_marked = True

    def forget(self) -> None:
        """Write down, in the transaction of the new version, that they are done."""
        if self._is_marked:
            self._comment("NULL")
            self._is_marked = False

    def _comment(self, comment: str) -> None:
        table = f"{quote_identifier(self._schema)}.alembic_version".replace("%", "%%")
        self._connection.exec_driver_sql(f"COMMENT ON TABLE {table} IS {comment}")

    def _adapt(
        self, _connection: Connection, construct: Any, multiparams: Any, params: Any, _options: Any
    ) -> tuple[Any, Any, Any]:
        if self._is_marked:
            match construct:
                case CreateIndex() if _is_concurrent(construct):
                    construct.if_not_exists = True
                case DropIndex() if _is_concurrent(construct):
                    construct.if_exists = True
                case TextClause():
                    statement = _CREATES.sub(r"\1 IF NOT EXISTS ", construct.text)
                    construct.text = _DROPS.sub(r"\1 IF EXISTS ", statement)
                case _:
                    pass
        return construct, multiparams, params


def _is_concurrent(construct: CreateIndex | DropIndex) -> bool:
    return bool(construct.element.dialect_options["postgresql"]["concurrently"])
