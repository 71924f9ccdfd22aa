"""The owner of an object of the application: the same primary key is a different row in each tenant."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.base import state_str
from typing_extensions import override

from tenantkit.exceptions import TenantMismatchError
from tenantkit.sqlalchemy_versions import WeakInstanceDict

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant

OWNER = "tenantkit_owner"
"""The key, in the state or its ``info`` of an object that has left its session, of the identity and the key of its
tenant."""


class _OwnedReference(ReferenceType[Any]):
    """The reference that objects have to their identity map; they keep it if the map becomes garbage before they do."""

    owner: tuple[str, str]


class OwnedInstances(WeakInstanceDict):
    """The identity map of a session for one tenant."""

    def __init__(self, owner: tuple[str, str]) -> None:
        super().__init__()
        self._owner = owner
        self._wr = _OwnedReference(self)
        self._wr.owner = owner

    @override
    def _fast_discard(self, state: InstanceState[Any]) -> None:
        # The object is garbage-collected, but a criterion that was built with it keeps its state and may still be sent.
        # As an attribute: vars(state) takes a quarter longer, for each object of a result that is not kept.
        state.tenantkit_owner = self._owner  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        _fast_discard(self, state)


_fast_discard = WeakInstanceDict._fast_discard  # noqa: SLF001 - `super()` would double its time


def require_own(state: InstanceState[Any], tenant: Tenant, placeholders: Collection[str | None]) -> None:
    """Raise if an object is a row of another tenant, whose primary key may be that of a row of *tenant*.

    :raises TenantMismatchError: if it is. Rows of shared tables belong to all tenants.
    """
    owner = owner_of(state)
    if owner is not None and owner[0] != tenant.identity and not _is_shared(state.mapper.tables, placeholders):
        raise TenantMismatchError(owner[1], tenant.key, instance=state_str(state))


def _is_shared(tables: Collection[Any], placeholders: Collection[str | None]) -> bool:
    """Return whether a class is mapped to shared tables only. Text and names without a schema mean the tenant's."""
    schemas = {getattr(table, "schema", None) for table in tables}
    return bool(schemas) and None not in schemas and schemas.isdisjoint(placeholders)


def require_own_value(read: Callable[[], Any], tenant: Tenant, placeholders: Collection[str | None]) -> None:
    """Raise if a parameter is the key of another tenant's row, as in ``Task.project == project``.

    :param read: the function of the parameter, which reads the object when the statement is executed.
    :raises TenantMismatchError: if it is.
    """
    for cell in getattr(read, "__closure__", None) or ():
        value: Any = cell.cell_contents
        if isinstance(value, InstanceState):
            require_own(value, tenant, placeholders)  # pyright: ignore[reportUnknownArgumentType]


def owner_of(state: InstanceState[Any]) -> tuple[str, str] | None:
    """Return the identity and the key of an object's tenant; ``None`` if it is not a row yet."""
    if state.key is None:
        return None
    owner: tuple[str, str] | None = (
        vars(state).get(OWNER)
        or getattr(state._instance_dict, "owner", None)  # noqa: SLF001 - of its session, also when that is garbage
        or state.info.get(OWNER)
    )
    return owner


@event.listens_for(Mapper, "pickle", raw=True)
def _pickle_owner(state: InstanceState[Any], pickled: dict[str, Any]) -> None:
    # An object that is pickled in its session, as by caches, is detached after it is unpickled.
    if (owner := owner_of(state)) is not None:
        pickled["info"] = {**pickled.get("info", {}), OWNER: owner}
