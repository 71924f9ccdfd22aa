"""Changes of a column's type that keep all values (PostgreSQL, ALTER TABLE, notes)."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.types import BigInteger, Float, Integer, Numeric, SmallInteger, String, TypeEngine

_TEXT = re.compile(r"(?:text|citext|(?:varchar|charactervarying)(?:\((\d+)\))?)(?:collate.*)?")
_NUMERIC = re.compile(r"(?:numeric|decimal)(?:\((\d+)(?:,(\d+))?\))?")


def is_stored_alike(existing: TypeEngine[Any] | None, new: str) -> bool | None:
    """Return whether rows are not rewritten when a column gets the type *new*, as SQL spells it.

    ``None`` if the existing type is not known.
    """
    kind, spelled = type(existing).__name__, re.sub(r"\s", "", new.lower())
    match existing:
        case None:
            return None
        case String(length=length) if kind not in {"CHAR", "Enum", "ENUM"}:
            found = _TEXT.fullmatch(spelled)
            return found is not None and (found[1] is None or (length is not None and length <= int(found[1])))
        case Numeric(precision=precision, scale=scale) if kind in {"Numeric", "NUMERIC", "DECIMAL"}:
            found = _NUMERIC.fullmatch(spelled)
            if found is None or found[1] is None:
                return found is not None
            return precision is not None and precision <= int(found[1]) and (scale or 0) == int(found[2] or 0)
        case _:
            return False


def takes_all(existing: TypeEngine[Any] | None, new: str) -> bool:
    """Return whether the type *new*, as SQL spells it, holds all values of the existing one, so that code works."""
    spelled = re.sub(r"\s", "", new.lower())
    match existing:
        case SmallInteger():
            return spelled in {"bigint", "int", "int4", "int8", "integer"}
        case BigInteger():
            return False
        case Integer():
            return spelled in {"bigint", "int8"}
        case Float() if type(existing).__name__ in {"Float", "FLOAT", "REAL"}:
            return spelled in {"doubleprecision", "float8"}
        case _:
            return bool(is_stored_alike(existing, new))
