"""Sessions for one tenant, and sessions for shared tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection, event, inspect
from sqlalchemy.util import immutabledict
from typing_extensions import override

from tenantkit.context import current_tenant_or_none
from tenantkit.databases.base import choose_bind
from tenantkit.exceptions import ConfigurationError, TenantMismatchError, TenantMovedError
from tenantkit.sessions.crossing import CROSSING, Crossing, SharedTables
from tenantkit.sessions.ownership import OWNER, OwnedInstances, require_own
from tenantkit.sessions.transactions import SHARED, Transactions
from tenantkit.sqlalchemy_versions import OptionsSession
from tenantkit.status import Status
from tenantkit.tables import NO_TENANT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine
    from sqlalchemy.orm import InstanceState, SessionTransaction

    from tenantkit.databases.base import Databases
    from tenantkit.isolation.binding import Binding
    from tenantkit.tenant import Tenant


_T = TypeVar("_T")


class Binder(Protocol):
    """Gives the bindings of tenants, and the engines of their databases: a tenancy."""

    @property
    def databases(self) -> Databases:
        """The databases of the tenants."""
        ...

    @property
    def shared_tables(self) -> SharedTables:
        """The tables of the main database."""
        ...

    def binding(self, tenant: Tenant | str | None = None, *, any_status: bool = False) -> Binding:
        """Return the binding of *tenant*, or of the current tenant; raises as `tenantkit.Tenancy.binding` does."""
        ...


@dataclass(frozen=True, slots=True)
class Bound:
    """A binder that was asked before."""

    databases: Databases
    known: Binding
    shared_tables: SharedTables
    main: Connection | None = None
    """The connection to the main database whose transaction the session's shared tables join."""
    later: Binder | None = None
    """The binder to ask again in later transactions; ``None`` if the tenant cannot change meanwhile."""

    def binding(self, *_: object, **__: object) -> Binding:
        """Return the one binding."""
        return self.known


def cross(binder: Binder, tenant: Tenant) -> Crossing:
    """Return the way of a session for *tenant* to the shared tables."""
    joined, tables = getattr(binder, "main", None), binder.shared_tables
    # A creation commits the tenant's database before the main one, and is repeated as a whole if that fails.
    may_write_both = joined is not None or tables.writes == "separate"
    return Crossing(tables, tenant, joined or binder.databases.main, may_write_both)


class _FramedSession(OptionsSession):
    """A session whose transactions leave nothing on their connection."""

    _transactions: Transactions
    _crossing: Crossing | None = None
    """The way to the shared tables, if they are in another database."""
    _has_conditions = False
    """Whether `_require_conditions` must be called before each statement."""

    @override
    def get_bind(self, mapper: Any = None, **arguments: Any) -> Engine | Connection:
        """Return the engine; `Session` calls this before every statement.

        :raises TenantMismatchError: if the session may not work in the current context, or another tenant has the key
            of its tenant now.
        :raises TenantUnavailableError: if the tenant is not active any more.
        :raises TenantNotFoundError: if the tenant was dropped.
        :raises ConfigurationError: if it is another engine than the session was made with.
        """
        if self._has_conditions:
            self._require_conditions()
        crossed = None
        if self._crossing is not None and arguments.get("bind") is None:
            crossed = arguments["bind"] = self._crossing.bind_for(mapper, arguments)
        bind = super().get_bind(mapper, **arguments)
        if crossed is None and bind is not self._transactions.bind:
            self._transactions.require_own_engine(bind)
        if isinstance(bind, Connection):
            self._transactions.resume(bind)
        return bind

    def _require_conditions(self) -> None:
        """Raise if the session may not work now."""

    @override
    def close(self) -> None:
        """End the session, and restore a connection of the caller."""
        try:
            super().close()
        finally:
            if self._transactions.callers:
                self._transactions.end()

    @override
    def invalidate(self) -> None:
        """End the session and close its connections; restore the options of a connection of the caller."""
        try:
            super().invalidate()
        finally:
            self._transactions.end()


class SharedSession(_FramedSession):
    """A `sqlalchemy.orm.Session` for shared tables; a tenant table fails in it, whatever tenant is current."""

    def __init__(
        self, bind: Engine | Connection | None = None, *, placeholder: str | None = "tenant", **options: Any
    ) -> None:
        own_options = {"schema_translate_map": {placeholder: NO_TENANT_SCHEMA}, SHARED: True}
        options["execution_options"] = {**options.get("execution_options", {}), **own_options}
        self._transactions = Transactions(self, bind, options["execution_options"])
        super().__init__(bind=bind, **options)


class TenantSession(_FramedSession):
    """A `sqlalchemy.orm.Session` for one tenant, for its whole life.

    Sessions are made by ``Tenancy.session()`` or ``Tenancy.sessionmaker``. One
    that was made without naming a tenant takes the current one, and refuses to
    work while another is current; one whose tenant was named is free of the
    context. At the first statement of each transaction, it checks that its
    tenant is still served. After ``close()`` it cannot be used again.
    """

    _is_unverified: bool
    """Whether the tenant must be verified before the next statement."""

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
        binding = binder.binding(tenant, any_status=any_status)
        self.tenant = binding.tenant
        bind = choose_bind(binder.databases, self.tenant.placement.database, bind, binding.login)
        self._binder = binder.later if isinstance(binder, Bound) else binder
        self._any_status = any_status
        self._follows_context = tenant is None
        self._require_verification()
        execution_options = binding.execution_options
        if own_options := options.get("execution_options"):
            binding.require_own_map(own_options)
            execution_options = immutabledict(own_options).union(execution_options)
        if binder.databases.elsewhere(self.tenant.placement.database) is not None:
            self._crossing = cross(binder, self.tenant)
            execution_options = execution_options.union({CROSSING: self._crossing})
        options["execution_options"] = execution_options
        self._transactions = Transactions(self, bind, execution_options)
        options.setdefault("close_resets_only", False)
        super().__init__(bind=bind, **options)  # by keyword: the next class may be another library's
        self._owner = binding.owner
        self.identity_map = OwnedInstances(self._owner)

    @override
    def expunge_all(self) -> None:
        """Remove all objects from the session."""
        super().expunge_all()
        self.identity_map = OwnedInstances(self._owner)

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
        # All merges come here: also merge_all(), and frozen results from a cache.
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

    @override
    def _flush(self, *arguments: Any, **options: Any) -> None:
        # Here too: after a refusal by get_bind(), the session would have to be rolled back. With a listener for
        # before_flush, SQLAlchemy would collect the changed objects twice.
        if self._has_conditions:
            self._require_conditions()
        super()._flush(*arguments, **options)

    def require_own(self, state: InstanceState[Any]) -> None:
        """Raise if an object is a row of another tenant, whose primary key may be that of a row of this one.

        :raises TenantMismatchError: if it does. Rows of shared tables belong to everyone.
        """
        require_own(state, self.tenant, self.execution_options["schema_translate_map"])

    @override
    def _require_conditions(self) -> None:
        self.require_same_tenant()
        if self._is_unverified:
            self._verify()
            self._is_unverified = False
            self._has_conditions = self._follows_context

    def _require_verification(self) -> None:
        """Have the tenant verified before the next statement."""
        self._is_unverified = self._binder is not None
        self._has_conditions = self._follows_context or self._is_unverified

    def _verify(self) -> None:
        """Raise unless the tenant is served now, where it was when the session was made."""
        assert self._binder is not None  # noqa: S101 - see `_require_verification`
        binding = self._binder.binding(self.tenant, any_status=self._any_status)
        if binding.look_up is not None:
            binding = binding.look_up()
        if binding.tenant.placement != self.tenant.placement:
            raise TenantMovedError(self.tenant.key, self.tenant.status)
        is_read_only = binding.tenant.status is Status.READ_ONLY and not self._any_status
        self._transactions.read_only = binding.tenant if is_read_only else None

    def require_same_tenant(self) -> None:
        """Raise unless this session may work in the current context.

        :raises TenantMismatchError: if the session follows the context and
            another tenant, or none, is current now.
        """
        if self._follows_context:
            current = current_tenant_or_none()
            if current is not self.tenant and (current is None or current.identity != self.tenant.identity):
                raise TenantMismatchError(self.tenant.key, current.key if current is not None else None)


@event.listens_for(TenantSession, "after_transaction_end")
def _verify_again(session: TenantSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._require_verification()  # noqa: SLF001 - its own listener


@event.listens_for(TenantSession, "before_attach", raw=True)
def _check_object(session: TenantSession, state: InstanceState[Any]) -> None:
    if state.key is not None:
        session.require_own(state)


@event.listens_for(TenantSession, "persistent_to_detached", raw=True)
@event.listens_for(TenantSession, "persistent_to_deleted", raw=True)
def _remember_owner(session: TenantSession, state: InstanceState[Any]) -> None:
    state.info[OWNER] = session._owner  # noqa: SLF001 - its own listener


@event.listens_for(_FramedSession, "after_begin", insert=True)  # before listeners that send statements
def _frame_transaction(session: _FramedSession, transaction: SessionTransaction, connection: Connection) -> None:
    session._transactions.begin(transaction, connection)  # noqa: SLF001 - its own listener
