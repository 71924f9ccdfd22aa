"""Creation of tenant tables in their physical form, by whatever creates them as the models declare them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Table, event, text
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable

from tenantkit.exceptions import ConfigurationError
from tenantkit.isolation.row.physical import physical_constraint, physical_index, physical_table
from tenantkit.isolation.row.policies import security_statements
from tenantkit.isolation.row.security import problems
from tenantkit.isolation.target import MigrationTarget
from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.naming import first_lines
from tenantkit.postgres.quoting import quote_identifier


def physical_form(connection: Connection, target: MigrationTarget) -> AbstractContextManager[None]:
    """Return the context manager for what creates tables at *target*, which does nothing in a schema of one tenant."""
    if target.column is None:
        return nullcontext()
    return writing_physical_form(connection, target.column, placeholder=target.placeholder, schema=target.schema)


@contextmanager
def writing_physical_form(
    connection: Connection, tenant: TenantColumn, *, placeholder: str | None, schema: str
) -> Generator[None]:
    """Create tenant tables, on *connection* during a block, in their physical form and with their policies.

    Constraints and indexes of existing tables get that form, too. Tables are recognized by the *placeholder*, which is
    translated to *schema*.

    :raises ConfigurationError: from the statement, if row isolation does not support what it creates.
    """
    writer = _Writer(connection, tenant, placeholder, schema)
    event.listen(connection, "before_execute", writer.before_execute, retval=True)
    event.listen(connection, "after_execute", writer.after_execute)
    try:
        yield
    finally:
        event.remove(connection, "before_execute", writer.before_execute)
        event.remove(connection, "after_execute", writer.after_execute)


def require_divided(connection: Connection, target: MigrationTarget) -> None:
    """Raise unless all tables at *target* are divided among tenants.

    :raises ConfigurationError: if some are not, as those that text has created.
    """
    if target.column is not None and (found := problems(connection, target.schema, target.column)):
        raise ConfigurationError(f"Row isolation would not separate the tenants: {first_lines(found)}.")


@dataclass(frozen=True, slots=True)
class _Writer:
    connection: Connection
    tenant: TenantColumn
    placeholder: str | None
    schema: str

    def before_execute(self, _connection: Connection, construct: Any, many: Any, params: Any, _options: Any) -> Any:
        return self._physical(construct), many, params

    def after_execute(self, _connection: Connection, construct: Any, *_: object) -> None:
        match construct:
            case CreateTable() if self._is_tenants(construct.element):
                for statement in security_statements(self.schema, construct.element.name, self.tenant):
                    self.connection.exec_driver_sql(statement)
            case AddConstraint():
                self._force(construct, "FORCE")
            case _:
                pass

    def _physical(self, construct: Any) -> Any:
        match construct:
            case CreateTable() if self._is_tenants(construct.element):
                keys = construct.include_foreign_key_constraints
                return CreateTable(
                    physical_table(construct.element, self.tenant, keys), if_not_exists=construct.if_not_exists
                )
            case AddConstraint() if self._is_tenants(construct.element.table):
                construct = AddConstraint(physical_constraint(construct.element, self.tenant))
                self._force(construct, "NO FORCE")
                return construct
            case CreateIndex() if self._is_tenants(construct.element.table):
                return CreateIndex(
                    physical_index(construct.element, self.tenant), if_not_exists=construct.if_not_exists
                )
            case _:
                changed: Column[Any] | None = getattr(construct, "column", None)
                if isinstance(changed, Column):  # by Alembic's ADD COLUMN and DROP COLUMN
                    self.tenant.require_free(construct.table_name, [changed])
                    if changed.name == self.tenant.name:  # common tables have it at each revision
                        return text("SELECT WHERE false")
                return construct

    def _is_tenants(self, table: Any) -> bool:
        return isinstance(table, Table) and table.schema == self.placeholder

    def _force(self, construct: AddConstraint, how: str) -> None:
        """Set whether the policies hold for the owner: PostgreSQL checks the rows of a new foreign key as the owner."""
        added = construct.element
        if isinstance(added, ForeignKeyConstraint):
            for table in filter(self._is_tenants, {added.table, added.referred_table}):
                name = f"{quote_identifier(self.schema)}.{quote_identifier(table.name)}"
                self.connection.exec_driver_sql(f"ALTER TABLE {name} {how} ROW LEVEL SECURITY")
