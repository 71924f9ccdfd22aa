"""Operations for slow changes of large tables that do not block other sessions: ``op.backfill`` and others.

Each consists of steps that are committed one by one and can be repeated, so an interrupted migration continues
at the step that it had reached. As `autocommit_block` does, they commit earlier operations: give each a revision of
its own.
"""

# Each module registers its operations.
from tenantkit.migrations.operations import (
    backfill,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    columns,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    constraints,  # noqa: F401 # pyright: ignore[reportUnusedImport]
    indexes,  # noqa: F401 # pyright: ignore[reportUnusedImport]
)
