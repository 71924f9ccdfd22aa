"""Sessions for the rows of all tenants in common tables, by a login of their own."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, Table, event, inspect

from tenantkit.exceptions import ConfigurationError
from tenantkit.sqlalchemy_versions import OptionsSession

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import InstanceState, Mapper, SessionTransaction

    from tenantkit.isolation.tenant_column import TenantColumn

logger = logging.getLogger(__name__)

_BYPASSES = "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user"


@dataclass(frozen=True, slots=True)
class CommonTables:
    """The common tables of a deployment, as an unscoped session finds them."""

    schema: str
    path: str
    """The search_path for text."""
    placeholder: str | None
    column: TenantColumn


class UnscopedSession(OptionsSession):
    """A `sqlalchemy.orm.Session` that reads the rows of all tenants of common tables, and changes none.

    Rows of several tenants may have the same key, so it loads objects only of tables whose keys are unique among all.
    Of others, select columns.
    """

    def __init__(
        self, bind: Engine | Connection | None = None, *, tables: CommonTables, reason: str, **options: Any
    ) -> None:
        own_options = {"schema_translate_map": {tables.placeholder: tables.schema}}
        options["execution_options"] = {**options.get("execution_options", {}), **own_options}
        self._tables = tables
        super().__init__(bind=bind, **options)
        logger.warning("An unscoped session reads the rows of all tenants: %s", reason)

    def require_own_key(self, state: InstanceState[Any]) -> None:
        """Raise if the key of an object of a common table may be that of another tenant's.

        :raises ConfigurationError: if it may.
        """
        mapper: Mapper[Any] = inspect(state.class_)
        for table in mapper.tables:
            declared: Any = table
            if not isinstance(declared, Table) or declared.schema != self._tables.placeholder:
                continue
            if self._tables.column.has_global_key(cast("Table", declared)):
                continue
            raise ConfigurationError(
                f"An unscoped session has no objects of {mapper.class_.__name__}: rows of several tenants may have the "
                f"same key. Select columns, and the tenant's: "
                f"select({mapper.class_.__name__}.id, literal_column('{declared.name}.{self._tables.column.name}'))."
            )


@event.listens_for(UnscopedSession, "loaded_as_persistent", raw=True)
@event.listens_for(UnscopedSession, "before_attach", raw=True)
def _check_object(session: UnscopedSession, state: InstanceState[Any]) -> None:
    session.require_own_key(state)


@event.listens_for(UnscopedSession, "after_begin")
def _begin(session: UnscopedSession, _transaction: SessionTransaction, connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql(f"SET LOCAL search_path TO {session._tables.path}")  # noqa: SLF001 - its own listener
    if not connection.exec_driver_sql(_BYPASSES).scalar():
        raise ConfigurationError(
            "Row security holds for the login of unscoped_url=, so it sees no rows. Let the owner of the database run "
            "ALTER ROLE ... BYPASSRLS, and grant it SELECT on the common tables: Tenancy(grant_to=[...]) for those to "
            "come."
        )
