"""Another package's operation, registered on import, which writes the name of a schema into text."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations


@Operations.register_operation("create_marker")
class CreateMarkerOp(MigrateOperation):
    """Create a table with an index."""

    def __init__(self, name: str, schema: str | None = None) -> None:
        self.name, self.schema = name, schema

    @classmethod
    def create_marker(cls, operations: Operations, name: str, schema: str | None = None) -> Any:
        """Issue the operation."""
        return operations.invoke(cls(name, schema))


@Operations.implementation_for(CreateMarkerOp)
def create_marker(operations: Operations, operation: CreateMarkerOp) -> None:
    """Do the operation."""
    prefix = f'"{operation.schema}".' if operation.schema else ""
    operations.execute(f"CREATE TABLE {prefix}{operation.name} (x int)")
    operations.create_index(None, operation.name, ["x"], schema=operation.schema)
