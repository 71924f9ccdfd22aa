"""The file of a baseline, and the files that it replaces."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from sqlalchemy import text

from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines

_FILE = '''\
"""Baseline: what the revisions up to {revision} have built. Written by 'tenantkit squash'.

Revision ID: {revision}
Revises:
"""

# tenantkit: noqa - it runs in empty schemas only
{left_out}
{imports}from alembic import op

revision = {revision!r}
down_revision = None
branch_labels = {labels!r}
depends_on = None
replaces = {replaces!r}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
    raise NotImplementedError("{revision} is a baseline, and the revisions below it are gone: restore a backup.")
'''
_BIND = re.compile(r"(?<![:\w\\]):(?=\w)")


def write_file(
    revision: str,
    replaces: Collection[str],
    labels: Collection[str],
    statements: Sequence[str],
    operations: Sequence[str],
    left_out: Sequence[str],
) -> str:
    """Return the contents of the file of a baseline that executes *statements*, and then the Python *operations*.

    :param replaces: the revisions that have no file any more; a tenant at one of them gets a clear error.
    """
    remarks = "".join(f"# Left out: {' '.join(each.split())}\n" for each in left_out)
    lines = [*(f"    op.execute({_as_python(each)})" for each in statements), *(f"    {each}" for each in operations)]
    return _FILE.format(
        revision=revision,
        replaces=tuple(replaces),
        labels=tuple(sorted(labels)) or None,
        left_out=remarks,
        imports="import sqlalchemy as sa\n" if any(each.startswith("    op.execute(sa.DDL(") for each in lines) else "",
        upgrade="\n".join(lines) or "    pass",
    )


def replace_files(path: Path, content: str, others: Collection[Path]) -> None:
    """Write *content* to *path* in one step, then delete *others*.

    :raises ConfigurationError: if a file cannot be written or deleted.
    """
    try:
        with NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(content)
        Path(file.name).chmod(path.stat().st_mode)
        os.replace(file.name, path)  # noqa: PTH105 - over the file that is there
        for each in others:
            each.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: {error.strerror}. Some files may be changed already: take back the folder from version "
            "control, and run the command again."
        ) from error


def require_replaceable(revision: str, replaced: Collection[str], graph: Mapping[str, Collection[str]]) -> None:
    """Raise unless all other revisions of *graph* stand on *revision* alone.

    :param replaced: the revisions that will be gone, without *revision*.
    :raises ConfigurationError: if one follows, or depends on, a revision in *replaced*.
    """
    gone = {*replaced}
    others = [each for each, below in graph.items() if each not in {*gone, revision} and gone & {*below}]
    if others:
        raise ConfigurationError(
            f"{first_lines(others)} would lose the revisions that it follows or depends on: only {revision} would stay "
            "of those up to it. Squash up to a revision that it follows, or join the branches first."
        )


def _as_python(statement: str) -> str:
    """Return *statement* as an argument of ``op.execute``, which reads ``:name`` as a parameter."""
    escaped = _BIND.sub(r"\\:", statement)
    if str(text(escaped)) != statement:
        doubled = statement.replace("%", "%%")
        return f"sa.DDL({_literal(doubled)})"
    return _literal(escaped)


def _literal(value: str) -> str:
    if "\n" not in value:
        return repr(value)
    escaped = value.replace("\\", "\\\\").replace("\r", r"\r").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = escaped[:-1] + '\\"'
    return f'"""{escaped}"""'
