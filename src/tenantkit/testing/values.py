"""Values for the columns of a canary row: those that carry a canary first, then others that a check may want."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import ARRAY, Column, types
from sqlalchemy.dialects.postgresql import CIDR, INET, MACADDR
from sqlalchemy.types import TypeDecorator, TypeEngine

from tenantkit.testing.canaries import Canaries

OMIT: Final = object()
"""The value of a column that the statement leaves out."""

FIRST_KEY = 900_000
"""The first number in a primary key: the same in each tenant, as caches that forget the tenant must be found out."""

_TEXTS = ("a", "A", "aa", "AA", "0", "1", "00000", "#0a0b0c", "eur", "EUR", "2026-01-01", "127.0.0.1")
_PLAIN: list[tuple[type[Any], tuple[Any, ...]]] = [
    (types.Boolean, (False, True)),
    (types.Integer, (1, 2, 0, 50)),
    (types.Numeric, (1, 2, 0, 50)),
    (types.DateTime, (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))),
    (types.Date, (date(2026, 1, 1), date(2027, 1, 1))),
    (types.Time, (time(9), time(10))),
    (types.Interval, (timedelta(hours=1), timedelta(hours=2))),
    (types.LargeBinary, (b"",)),
    (types.JSON, ({}, [], None)),
    (INET, ("192.0.2.1",)),
    (CIDR, ("192.0.2.0/24",)),
    (MACADDR, ("02:00:00:00:00:01",)),
]
_DIGITS = 9
"""The number of digits of a canary that is a number."""

_Mint: TypeAlias = Callable[[str], Any]


def candidates(column: Column[Any], canaries: Canaries, tenant: str | None, number: int) -> list[Any]:
    """Return the values to try for *column* in the *number*-th row of a tenant, the best first; empty if none is known.

    Foreign keys are not considered.
    """
    place = f"{column.table.name}.{column.name}"
    optional = column.nullable or column.default is not None or column.server_default is not None
    if column.computed is not None or (column.identity is not None and column.identity.always):
        return [OMIT]
    if column.primary_key and (key := _key(column, number)) is not None:
        return [key, OMIT]
    marked = _marked(column.type, lambda kind: getattr(canaries, kind)(tenant, place))
    return [*marked, *([OMIT] if optional else []), *_plain(column.type)]


def _key(column: Column[Any], number: int) -> int | UUID | str | None:
    match column.type:
        case types.SmallInteger():
            return FIRST_KEY // 30 + number
        case types.Integer():
            return FIRST_KEY + number
        case types.Uuid() as kind:
            key = uuid5(NAMESPACE_OID, f"{column.table.name} {number}")
            return key if kind.as_uuid else str(key)
        case _:
            return None


def _marked(kind: TypeEngine[Any], mint: _Mint) -> list[Any]:
    """Return values of a type with a canary in them; empty if it cannot carry one."""
    match kind:
        case TypeDecorator():
            return _marked(kind.impl_instance, mint)
        case ARRAY(item_type=item):
            return [[each] for each in _marked(item, mint)[:1]]
        case types.Enum() | types.SmallInteger() | types.REAL():
            return []
        case _:
            makers = (make for known, make in _CARRIERS if isinstance(kind, known))
            return next(makers, _carry_none)(kind, mint)


def _carry_none(_kind: Any, _mint: _Mint) -> list[Any]:
    return []


def _spell(kind: Any, mint: _Mint) -> list[str]:
    text = mint("text")
    found = [text, text.upper(), f"https://{text}.example/", f"{text}@example.com"]
    return [each for each in found if kind.length is None or len(each) <= kind.length]


def _number(kind: Any, mint: _Mint) -> list[Any]:
    if kind.precision is not None and kind.precision - (kind.scale or 0) < _DIGITS:
        return []
    return [Decimal(mint("number")) if kind.asdecimal else float(mint("number"))]


_CARRIERS: list[tuple[type[Any], Callable[[Any, _Mint], list[Any]]]] = [
    (types.String, _spell),
    (types.Uuid, lambda kind, mint: [mint("uuid") if kind.as_uuid else str(mint("uuid"))]),
    (types.Integer, lambda _, mint: [mint("number")]),
    (types.Float, lambda _, mint: [float(mint("number"))]),
    (types.Numeric, _number),
    (types.LargeBinary, lambda _, mint: [mint("text").encode()]),
    (types.JSON, lambda _, mint: [{"canary": mint("text")}, [mint("text")]]),
]


def _plain(kind: TypeEngine[Any]) -> list[Any]:
    match kind:
        case types.Enum(enum_class=None, enums=values):
            return list(values)
        case types.Enum(enum_class=type() as choices):
            return list(choices)
        case types.String(length=length):
            return [each for each in _TEXTS if length is None or len(each) <= length]
        case ARRAY():
            return [[], *([each] for each in _plain(kind.item_type)[:1])]
        case TypeDecorator():
            return _plain(kind.impl_instance)
        case _:
            return list(next((values for known, values in _PLAIN if isinstance(kind, known)), ()))
