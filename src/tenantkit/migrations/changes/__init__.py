"""Operations for changes that take long on large tables, so that nobody waits for them: ``op.backfill`` and others.

Each is made of steps that are committed by themselves and can be repeated, so a migration that was interrupted goes on
where it was. As `autocommit_block` does, they commit what comes before them: give each a revision of its own.
"""

from tenantkit.migrations.changes.backfill import BackfillOp
from tenantkit.migrations.changes.columns import AddRequiredColumnOp
from tenantkit.migrations.changes.constraints import (
    CreateCheckConstraintConcurrentlyOp,
    CreateForeignKeyConcurrentlyOp,
    ValidateConstraintOp,
)
from tenantkit.migrations.changes.indexes import CreateIndexConcurrentlyOp, DropIndexConcurrentlyOp

__all__ = [
    "AddRequiredColumnOp",
    "BackfillOp",
    "CreateCheckConstraintConcurrentlyOp",
    "CreateForeignKeyConcurrentlyOp",
    "CreateIndexConcurrentlyOp",
    "DropIndexConcurrentlyOp",
    "ValidateConstraintOp",
]
