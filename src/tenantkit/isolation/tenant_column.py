"""The column that divides the rows of common tables among tenants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, text

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_identifier, quote_literal

SETTING = "tenantkit.tenant"
"""The setting of a transaction that has the id of its tenant."""
TYPE = "bigint"
"""The type of ids of tenants in SQL."""


@dataclass(frozen=True, slots=True)
class TenantColumn:
    """The tenant column of each common table, with the tenants' ids. The models do not declare it."""

    name: str = "tenant_id"

    @property
    def sql_name(self) -> str:
        """The quoted name."""
        return quote_identifier(self.name)

    @property
    def setting(self) -> str:
        """The SQL expression of the setting; NULL without a tenant, also where a transaction before had one."""
        return f"nullif(current_setting({quote_literal(SETTING)}, true), '')"

    def make(self) -> Column[Any]:
        """Return a new column, which the database fills with the value of the transaction's tenant."""
        return Column(self.name, BigInteger(), server_default=text(f"{self.setting}::{TYPE}"), nullable=False)

    def require_free(self, table: str, columns: Iterable[Column[Any]]) -> None:
        """Raise if one of the *columns* of a declared *table* has this name, since it may mean something else.

        :raises ConfigurationError: if one has it.
        """
        if any(self.name in {column.key, column.name} for column in columns):
            raise ConfigurationError(
                f"The table {table} declares a column {self.name!r}, which is the name of tenantkit's own column in "
                "common tables. If it means the tenant, remove it: tenantkit adds and fills it. If it means something "
                "else, give it another name, or give the tenants isolation='schema'."
            )
