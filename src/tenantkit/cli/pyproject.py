"""Settings in a project's ``pyproject.toml``, under ``[tool.tenantkit]``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, cast

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause


def find(start: Path, name: str) -> tuple[Path, Any] | None:
    """Return the nearest file, from *start* upwards, that sets *name*, and its value; ``None`` if none does.

    :raises ConfigurationError: if a file on the way cannot be read.
    """
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and (value := _read(file).get(name)) is not None:
            return file, value
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{file} cannot be read: {as_clause(error)}.") from error
    for name in ("tool", "tenantkit"):
        value: Any = found.get(name, {})
        if not isinstance(value, dict):
            raise ConfigurationError(f"In {file}, {name!r} is no table. Write [tool.tenantkit].")
        found = cast("dict[str, Any]", value)
    return found
