"""Sessions that see exactly one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection, event, inspect
from sqlalchemy.orm import Mapper, Session
from typing_extensions import override

from tenantkit import raw_sql
from tenantkit.context import current_tenant_or_none
from tenantkit.exceptions import ConfigurationError, TenantMismatchError
from tenantkit.tables import NO_TENANT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine
    from sqlalchemy.orm import InstanceState, SessionTransaction

    from tenantkit.binding import Binding
    from tenantkit.tenant import Tenant


_T = TypeVar("_T")
_OWNER = "tenantkit_owner"
"""Where a detached object keeps the id and the key of the tenant that it came from."""


_OF_BINDING = ("schema_translate_map", "tenantkit_binding")


class _OwnedKey(int):
    """The key of a session among all, which also tells the id and the key of its tenant."""

    owner: tuple[int, str]


class Binder(Protocol):
    """Finds the binding of a tenant; without one, of the current tenant."""

    def __call__(self, tenant: Tenant | str | None = None, *, any_status: bool = False) -> Binding:
        """Return it, or raise as `tenantkit.Tenancy.binding` does."""
        ...


class TenantSession(Session):
    """A `sqlalchemy.orm.Session` for one tenant, for its whole life.

    Sessions are made by ``Tenancy.session()`` or ``Tenancy.sessionmaker``. One
    that was made without naming a tenant takes the current one, and refuses to
    work while another is current; one whose tenant was named is free of the
    context. After ``close()`` it cannot be used again.
    """

    hash_key: _OwnedKey

    def __init__(
        self,
        bind: Engine | Connection | None = None,
        *,
        binder: Binder,
        tenant: Tenant | str | None = None,
        any_status: bool = False,
        **options: Any,
    ) -> None:
        if options.get("binds"):
            raise ConfigurationError("A tenant session has one engine, its tenancy's: leave out binds=.")
        binding = binder(tenant, any_status=any_status)
        self.tenant = binding.tenant
        self._follows_context = tenant is None
        options["execution_options"] = {**options.get("execution_options", {}), **binding.execution_options}
        options.setdefault("close_resets_only", False)
        super().__init__(bind, **options)
        # Objects keep the key of their session, also when it is garbage and was never closed.
        self.hash_key = _OwnedKey(self.hash_key)  # pyright: ignore[reportIncompatibleVariableOverride]
        self.hash_key.owner = self._owner

    @property
    def _owner(self) -> tuple[int, str]:
        return (self.tenant.id, self.tenant.key)

    @override
    def merge(self, instance: _T, **options: Any) -> _T:
        """Copy the state of *instance*, and of what its relationships cascade to, into this session.

        :raises TenantMismatchError: if any of it is a row of another tenant.
        """
        state = inspect(instance)
        self.require_own(state)
        for _, _, related, _ in state.mapper.cascade_iterator("merge", state):
            self.require_own(related)
        return super().merge(instance, **options)

    @override
    def _merge(self, state: InstanceState[Any], *arguments: Any, **options: Any) -> Any:
        # Whatever merges comes here: also merge_all(), and frozen results from a cache.
        self.require_own(state)
        return super()._merge(state, *arguments, **options)

    @override
    def bulk_save_objects(self, objects: Iterable[object], *arguments: Any, **options: Any) -> None:
        """Insert or update *objects* in bulk.

        :raises TenantMismatchError: if any of them is a row of another tenant.
        """
        objects = list(objects)
        for instance in objects:
            self.require_own(inspect(instance))
        super().bulk_save_objects(objects, *arguments, **options)

    def require_own(self, state: InstanceState[Any]) -> None:
        """Raise if an object stands for a row of another tenant, whose key may be that of a row here.

        :raises TenantMismatchError: if it does. Rows of shared tables belong to everyone.
        """
        owner = _owner_of(state)
        if owner is not None and owner != self._owner:
            placeholders = self.execution_options["schema_translate_map"]
            if any(getattr(table, "schema", None) in placeholders for table in state.mapper.tables):
                raise TenantMismatchError(owner[1], self.tenant.key)

    @override
    def get_bind(self, mapper: Any = None, **arguments: Any) -> Engine | Connection:
        """Return the engine; called by `Session` on the way of every statement to the database.

        :raises TenantMismatchError: if the session may not work in the current context.
        """
        self.require_same_tenant()
        bind = super().get_bind(mapper, **arguments)
        if isinstance(bind, Connection):
            # A caller's connection may have served the session of another tenant since.
            bind.execution_options(**{name: self.execution_options[name] for name in _OF_BINDING})
        return bind

    def require_same_tenant(self) -> None:
        """Raise unless this session may work in the current context.

        :raises TenantMismatchError: if the session follows the context and
            another tenant, or none, is current now.
        """
        if self._follows_context:
            current = current_tenant_or_none()
            if current is None or current.id != self.tenant.id:
                raise TenantMismatchError(self.tenant.key, current.key if current is not None else None)


def _owner_of(state: InstanceState[Any]) -> tuple[int, str] | None:
    if state.key is None:  # not a row yet
        return None
    if isinstance(state.session_id, _OwnedKey):
        return state.session_id.owner
    owner: tuple[int, str] | None = state.info.get(_OWNER)
    return owner


@event.listens_for(TenantSession, "before_attach")
def _check_object(session: TenantSession, instance: object) -> None:
    session.require_own(inspect(instance))


@event.listens_for(TenantSession, "persistent_to_detached")
def _remember_owner(session: TenantSession, instance: object) -> None:
    inspect(instance).info[_OWNER] = session.hash_key.owner


@event.listens_for(Mapper, "pickle", raw=True)
def _pickle_owner(state: InstanceState[Any], pickled: dict[str, Any]) -> None:
    # One that is pickled in its session, as caches do, is detached where it is unpickled.
    if isinstance(state.session_id, _OwnedKey):
        pickled["info"] = {**pickled.get("info", {}), _OWNER: state.session_id.owner}


@event.listens_for(TenantSession, "after_begin")
def _enter_tenant(_session: TenantSession, _transaction: SessionTransaction, connection: Connection) -> None:
    raw_sql.on_begin(connection)


@event.listens_for(TenantSession, "before_flush")
def _check_flush(session: TenantSession, *_: object) -> None:
    # Here too: refused half way through a flush, the session would have to be rolled back.
    session.require_same_tenant()


def shared_options(placeholder: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Return the *options* of a plain session that reaches shared tables only."""
    shared = {"schema_translate_map": {placeholder: NO_TENANT_SCHEMA}, raw_sql.SHARED: True}
    return {**options, "execution_options": {**options.get("execution_options", {}), **shared}}
