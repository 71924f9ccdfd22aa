"""The choice of a new tenant's database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, text

from tenantkit.arguments import require_done
from tenantkit.databases.base import Databases, split_key
from tenantkit.exceptions import ConfigurationError, ProvisioningError
from tenantkit.placement import DatabaseLoad, PlacementPolicy
from tenantkit.postgres.advisory_locks import CHOICE
from tenantkit.postgres.errors import reason
from tenantkit.registry import store
from tenantkit.tenant import NewTenant
from tenantkit.user_code import ContainedExits, with_place

_LOCK = text(f"SELECT pg_advisory_xact_lock({CHOICE})")


def choose_database(connection: Connection, databases: Databases, new: NewTenant, policy: PlacementPolicy) -> str:
    """Return the database that *policy* chooses for a new tenant.

    It stays the right choice until the caller's transaction, on the main database, ends: others wait to choose.

    :raises ProvisioningError: if the policy raises, or chooses what is no database.
    """
    connection.execute(_LOCK)
    loads = Counter[str]()
    for key, count in store.count_by_database(connection).items():
        loads[split_key(key)[0]] += count
    known = {name: DatabaseLoad(loads[name]) for name in databases.keys}
    try:
        with ContainedExits("placement="):
            chosen = policy(new, known)
            require_done("placement", chosen)
        require_known(databases.keys, chosen, "placement= returned")
    except Exception as error:
        raise ProvisioningError(new.key, "choosing its database", with_place(reason(error), error)) from error
    return chosen


def require_known(names: Collection[str], name: object, said: str) -> None:
    """Raise unless *name* is one of *names*, those of the databases.

    :raises ConfigurationError: if it is not; the message begins with *said*.
    """
    if name not in names:
        raise ConfigurationError(
            f"{said} {name!r}, which is no database of this tenancy. It has {', '.join(map(repr, names))}; "
            "Tenancy({...}) names them."
        )
