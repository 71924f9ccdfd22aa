"""Bindings: the values with which a session serves one tenant."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy.util import immutabledict
from typing_extensions import override

from tenantkit.exceptions import TenantMismatchError
from tenantkit.isolation.tenant_column import SETTING, TenantColumn
from tenantkit.postgres.quoting import quote_literal, quote_setting, search_path

if TYPE_CHECKING:
    from tenantkit.databases.logins import Login
    from tenantkit.tenant import Tenant

BINDING = "tenantkit_binding"
"""The execution option of sessions for a tenant."""

_PLAIN = re.compile(r"\w+", re.ASCII)

RawSQL = Literal["allow", "forbid"]
"""Whether tenant sessions execute textual SQL, whose names no map translates.

``allow`` does: PostgreSQL looks its names up along the tenant's ``search_path``. ``forbid`` raises
`RawSQLForbiddenError`.
"""


class _UnnamedMap(immutabledict[str | None, str]):
    """The immutable map of the placeholder ``None``, to which SQLAlchemy adds ``_none`` at each execution."""

    def __init__(self, schema: str) -> None:
        super().__init__({None: schema, "_none": schema})

    @override
    def __setitem__(self, name: str | None, schema: str) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.get(name) != schema:
            super().__setitem__(name, schema)  # raises TypeError


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """One tenant's placement, as SQLAlchemy execution options and as a setting of transactions."""

    tenant: Tenant
    placeholder: str | None
    raw_sql: RawSQL
    search_path: str
    """The value of ``search_path`` in the tenant's transactions."""
    settings: tuple[tuple[str, str], ...] = ()
    """Further settings of the tenant's transactions, such as a role: names and values."""
    column: TenantColumn | None = None
    """The column that divides the tables among tenants, if the schema is not the tenant's alone."""
    value: Any = None
    """The tenant's value of that column, or of the one that models declare."""
    login: Login | None = None
    """The tenant's login; ``None`` if its connections have the application's."""
    look_up: Callable[[], Binding] | None = None
    """A function that looks the tenant up again, and raises unless it is served; ``None`` if that was done."""
    schemas: Mapping[str | None, str] = field(init=False)
    """The ``schema_translate_map``. It cannot be changed: all sessions of the tenant have it."""
    execution_options: immutabledict[str, Any] = field(init=False, repr=False)
    """The options for `Session`."""
    head: tuple[str, ...] = field(init=False)
    """The statements that begin a transaction. They take no snapshot, so SET TRANSACTION may follow."""
    mark: str = field(init=False)
    """The comment before each statement."""
    owner: tuple[str, str] = field(init=False)
    """The identity and the key of the tenant."""

    def __post_init__(self) -> None:
        tenant = self.tenant
        is_named = self.placeholder is not None
        schemas = immutabledict({self.placeholder: tenant.schema}) if is_named else _UnnamedMap(tenant.schema)
        derived: dict[str, Any] = {
            "schemas": schemas,
            "execution_options": immutabledict({"schema_translate_map": schemas, BINDING: self}),
            "head": (
                f"SET LOCAL search_path TO {self.search_path}",
                *(f"SET LOCAL {quote_setting(name)} TO {quote_literal(value)}" for name, value in self.settings),
            ),
            "mark": f"/* {self._whose} */ ",
            "owner": (tenant.identity, tenant.key),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def _whose(self) -> str:
        """Text in comments that differs wherever names mean something else: statements are prepared once for each.

        It has the schema, too: a tenant that gets other tables has other types.
        """
        schema = self.tenant.schema
        place = schema if _PLAIN.fullmatch(schema) else schema.encode().hex()
        return f"{f'tenant {self.tenant.id}' if self.column is None else 'tenants'} in {place}"

    def require_own_map(self, options: Mapping[str, Any]) -> None:
        """Raise if execution *options* of the caller's lead to another schema than the tenant's.

        :raises TenantMismatchError: if they do.
        """
        given = options.get("schema_translate_map")
        if given is None or given is self.schemas:
            return
        if given.get(self.placeholder, self.tenant.schema) != self.tenant.schema:
            raise TenantMismatchError(self.tenant.key, None, schema=given[self.placeholder] or "none")


def bind(
    tenant: Tenant,
    *,
    placeholder: str | None,
    raw_sql: RawSQL,
    extra_schemas: Sequence[str] = (),
    settings: tuple[tuple[str, str], ...] = (),
    column: TenantColumn | None = None,
    value: Any = None,
    login: Login | None = None,
) -> Binding:
    """Return the binding of *tenant*, whose tables are declared with *placeholder*."""
    path = search_path(tenant.schema, *extra_schemas)
    if value is not None:
        settings = (*settings, (SETTING, str(value)))
    return Binding(tenant, placeholder, raw_sql, path, settings, column, value, login)
