"""The column that divides the rows of common tables among tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Column, Integer, String, Table, Uuid, text
from sqlalchemy.types import TypeEngine

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_identifier, quote_literal

SETTING = "tenantkit.tenant"
"""The setting of a transaction that has the value of its tenant."""

ColumnType = Literal["bigint", "integer", "text", "uuid"]

_TYPES: Mapping[ColumnType, type[TypeEngine[Any]]] = {
    "bigint": BigInteger,
    "integer": Integer,
    "text": String,
    "uuid": Uuid,
}


@dataclass(frozen=True, slots=True)
class TenantColumn:
    """The tenant column of each common table. The models need not declare it."""

    name: str = "tenant_id"
    type: ColumnType = "bigint"

    @property
    def sql_name(self) -> str:
        """The quoted name."""
        return quote_identifier(self.name)

    @property
    def setting(self) -> str:
        """The SQL expression of the setting; NULL without a tenant, also where a transaction before had one."""
        return f"nullif(current_setting({quote_literal(SETTING)}, true), '')"

    @property
    def current(self) -> str:
        """The SQL expression of the value of the transaction's tenant; NULL without a tenant."""
        return f"{self.setting}::{self.type}"

    @property
    def sqlalchemy_type(self) -> TypeEngine[Any]:
        """The type, for SQLAlchemy."""
        return _TYPES[self.type]()

    def make(self) -> Column[Any]:
        """Return a new column, which the database fills with the value of the transaction's tenant."""
        return Column(self.name, self.sqlalchemy_type, server_default=text(self.current), nullable=False)

    def require_type(self, table: Table) -> None:
        """Raise if *table* declares a column of this name with another type.

        :raises ConfigurationError: if it does.
        """
        declared = table.columns.get(self.name)
        if declared is not None and not isinstance(declared.type, _TYPES[self.type]):
            raise ConfigurationError(
                f"The column {table.fullname}.{self.name} has the type {declared.type!r}, but the tenants' values have "
                f"the type {self.type}. Give the column that type, or another name if it does not name the tenant."
            )
