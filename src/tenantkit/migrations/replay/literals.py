"""Statements with literals for their parameters, with the same meaning for PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg import ClientCursor
from psycopg.adapt import Dumper
from typing_extensions import override

if TYPE_CHECKING:
    from sqlalchemy import Connection


class _Typed(Dumper):
    """Writes numbers as psycopg sends them: in quotes and with their type.

    Bare, ``-1::int`` is the negative of ``1::int``, which fails for the smallest integer, and ``0.1`` is not a float.
    """

    type: bytes

    @override
    def dump(self, obj: Any) -> bytes:
        return str(obj).encode()

    @override
    def quote(self, obj: Any) -> bytes:
        return b"'%s'::%s" % (self.dump(obj), self.type)


class _Integer(_Typed):
    @override
    def quote(self, obj: int) -> bytes:
        # The smallest type for the value, as in psycopg and in PostgreSQL's own bare literals.
        return self.dump(obj) if obj >= 0 else b"(%s)" % self.dump(obj)


class _Float(_Typed):
    type = b"float8"


class _Decimal(_Typed):
    type = b"numeric"


def write_literals(connection: Connection, statement: str, parameters: Any) -> str:
    """Return *statement*, as SQLAlchemy passes it to psycopg on *connection*, with literals for its *parameters*."""
    cursor = ClientCursor(connection.connection.driver_connection)  # type: ignore[arg-type]
    for kind, dumper in ((int, _Integer), (float, _Float), (Decimal, _Decimal)):
        cursor.adapters.register_dumper(kind, dumper)
    return cursor.mogrify(statement.encode(), parameters)
