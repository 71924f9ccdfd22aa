"""The column that divides the rows of common tables among tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Column, Integer, String, Table, Uuid, text
from sqlalchemy.types import TypeEngine

from tenantkit.exceptions import ConfigurationError
from tenantkit.postgres.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant

SETTING = "tenantkit.tenant"
"""The setting of a transaction that has its tenant's value of the tenant column."""

ColumnType = Literal["bigint", "integer", "text", "uuid"]


def _parse_number(limit: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not 0 < (number := int(value)) < limit:
            raise ValueError(value)
        return number

    return parse


def _parse_text(value: str) -> str:
    if not value or value != value.strip() or "\0" in value:
        raise ValueError(value)
    return value


def _parse_uuid(value: str) -> UUID:
    if not (parsed := UUID(value)).int:
        raise ValueError(value)
    return parsed


class _Type(NamedTuple):
    sqlalchemy: Callable[[], TypeEngine[Any]]
    parse: Callable[[str], Any]
    takes: str
    no_tenant: str
    """A value that no tenant has."""


_TYPES: Mapping[ColumnType, _Type] = {
    "bigint": _Type(BigInteger, _parse_number(2**63), "an integer of at least 1", "0"),
    "integer": _Type(Integer, _parse_number(2**31), "an integer from 1 to 2147483647", "0"),
    "text": _Type(String, _parse_text, "a text without spaces at its ends", " "),
    "uuid": _Type(Uuid, _parse_uuid, "a UUID other than 0", str(UUID(int=0))),
}


@dataclass(frozen=True, slots=True)
class TenantColumn:
    """The tenant column of each common table. Tables that do not declare it get it."""

    name: str = "tenant_id"
    type: ColumnType = "bigint"
    length: int | None = None
    """The maximum length of a text."""
    is_declared: bool = False
    """Whether the models have it. Then a primary key of one UUID stays as it is."""

    @property
    def sql_name(self) -> str:
        """The quoted name."""
        return quote_identifier(self.name)

    @property
    def setting(self) -> str:
        """The SQL expression of the setting; NULL without a tenant, also where a transaction before had one."""
        return f"nullif(current_setting({quote_literal(SETTING)}, true), '')"

    @property
    def sqlalchemy_type(self) -> TypeEngine[Any]:
        """The type, for SQLAlchemy."""
        return _TYPES[self.type].sqlalchemy()

    @property
    def no_tenant(self) -> str:
        """A value that no tenant has."""
        return _TYPES[self.type].no_tenant

    def make(self) -> Column[Any]:
        """Return a new column, which the database fills with the value of the transaction's tenant."""
        type_ = self.sqlalchemy_type if self.length is None else String(self.length)
        return Column(self.name, type_, server_default=self.default, nullable=False)

    @property
    def default(self) -> Any:
        """The default of the column: the value of the transaction's tenant."""
        return text(f"{self.setting}::{self.type}")

    def parse(self, value: object) -> Any:
        """Return a tenant's *value* as Python has values of this type.

        :raises ConfigurationError: if the column cannot have it.
        """
        kind = _TYPES[self.type]
        try:
            parsed = kind.parse(str(value))
        except ValueError as error:
            raise ConfigurationError(
                f"The column {self.name!r} cannot have the value {value!r}: it takes {kind.takes}."
            ) from error
        if self.length is not None and len(str(parsed)) > self.length:
            raise ConfigurationError(f"The column {self.name!r} cannot have {value!r}: its length is {self.length}.")
        return parsed

    def value_of(self, tenant: Tenant) -> Any:
        """Return the value of *tenant*: that of the registry, else its id.

        :raises ConfigurationError: if it has none that the column can have.
        """
        if tenant.row_value is None and self.type == "uuid":
            raise ConfigurationError(
                f"The tenant {tenant.key!r} was created before row_column={self.name!r}, and has no value for it. Set "
                f"it: tenancy.set_row_value({tenant.key!r}, ...)."
            )
        return self.parse(tenant.id if tenant.row_value is None else tenant.row_value)

    def find(self, columns: Iterable[Column[Any]]) -> Column[Any] | None:
        """Return the tenant column among the declared *columns* of a table."""
        return next((column for column in columns if column.name == self.name), None)

    def keeps_key(self, table: Table) -> bool:
        """Return whether the primary key of a declared *table* is one UUID beside a declared column, and stays."""
        columns = list(table.primary_key.columns)
        is_uuid = len(columns) == 1 and isinstance(columns[0].type, Uuid)
        return self.is_declared and is_uuid and columns[0].name != self.name

    def has_global_key(self, table: Table) -> bool:
        """Return whether no two rows of a declared *table* have the same key, be they of different tenants."""
        return self.is_declared and (self.keeps_key(table) or self.find(table.primary_key.columns) is not None)

    def require_free(self, table: str, columns: Iterable[Column[Any]]) -> None:
        """Raise if one of the *columns* of a declared *table* has this name, since it may mean something else.

        :raises ConfigurationError: if one has it, and the models are not said to declare it.
        """
        if not self.is_declared and any(self.name in {column.key, column.name} for column in columns):
            raise ConfigurationError(
                f"The table {table} declares a column {self.name!r}, which is the name of tenantkit's own column in "
                f"common tables. If it means the tenant, pass Tenancy(row_column={self.name!r}), or remove it: "
                "tenantkit adds and fills it. If it means something else, give it another name, or give the tenants "
                "isolation='schema'."
            )
