"""New types of columns that hold what the old ones hold."""

from __future__ import annotations

import re

from sqlalchemy.types import Numeric, String, TypeEngine


class Widening:
    """Tells whether values of a column's type are stored alike in a new one (PostgreSQL, ALTER TABLE, notes)."""

    def __init__(self, existing: TypeEngine[object] | None) -> None:
        self._existing = existing

    def __call__(self, new: str) -> bool | None:
        """Return whether the type that is spelt *new* holds all that is there as it is."""
        match self._existing:
            case String(length=old) if type(self._existing).__name__ not in {"CHAR", "Enum", "ENUM"}:
                found = re.match(
                    r"(?:text|citext|(?:varchar|character varying)(?: \( ([\d ]+) \))?)(?: collate .*)?$", new
                )
                return found is not None and (
                    found[1] is None or (old is not None and old <= int(found[1].replace(" ", "")))
                )
            case Numeric(precision=precision, scale=scale) if type(self._existing).__name__ in {
                "Numeric",
                "NUMERIC",
                "DECIMAL",
            }:
                found = re.match(r"(?:numeric|decimal)(?: \( ([\d ]+)(?: , ([\d ]+))? \))?$", new)
                if found is None or found[1] is None:
                    return found is not None
                digits, places = (int((each or "0").replace(" ", "")) for each in found.groups())
                return precision is not None and precision <= digits and (scale or 0) == places
            case _:
                return None if self._existing is None else False
