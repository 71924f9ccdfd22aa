"""Settings in a project's ``pyproject.toml``, under ``[tool.tenantkit]``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tenantkit.exceptions import ConfigurationError, as_clause


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
        tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {as_clause(error)}.") from error
    section: dict[str, Any] = tool.get("tenantkit", {})
    return section
