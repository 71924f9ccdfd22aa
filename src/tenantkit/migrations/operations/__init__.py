"""Operations for changes that take long on large tables, so that nobody waits for them: ``op.backfill`` and others.

Each is made of steps that are committed by themselves and can be repeated, so a migration that was interrupted goes on
where it was. As `autocommit_block` does, they commit what comes before them: give each a revision of its own.
"""

# Each registers its operations.
from tenantkit.migrations.operations import (
    backfill,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    columns,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    constraints,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    indexes,  # noqa: F401 # pyright: ignore[reportUnusedImport]
)
