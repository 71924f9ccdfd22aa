"""Placement policies: they choose the database of each new tenant.

A policy is a function of the new tenant and of what is known of the databases, which returns a database's name::

    Tenancy({"main": url, "eu": url}, placement=by_attribute("region", {"eu": "eu"}, otherwise="main"), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tenantkit.arguments import FUNCTION, MAPPING, NAME, NAMES, either, optional, require, whole
from tenantkit.exceptions import ConfigurationError
from tenantkit.tenant import NewTenant

__all__ = ["DatabaseLoad", "NewTenant", "PlacementPolicy", "by_attribute", "fill_first"]


@dataclass(frozen=True, slots=True)
class DatabaseLoad:
    """The use of one database, as the registry knows it."""

    tenants: int
    """Number of tenants in it, or in databases of their own on its server, whatever their status."""


PlacementPolicy: TypeAlias = "Callable[[NewTenant, Mapping[str, DatabaseLoad]], str]"
"""Returns the name of one of the databases, which it receives by name, in their order in ``Tenancy({...})``."""


def fill_first(limit: int, *, databases: Collection[str] | None = None) -> PlacementPolicy:
    """Return the policy that fills one database after another: it chooses the fullest one below *limit*.

    :param limit: the maximum number of tenants of a database.
    :param databases: the names of those to use; all by default.
    """
    require(limit=(limit, whole(1)), databases=(databases, optional(NAMES)))

    def choose(_tenant: NewTenant, known: Mapping[str, DatabaseLoad]) -> str:
        usable = {name: load.tenants for name, load in known.items() if databases is None or name in databases}
        free = [name for name, tenants in usable.items() if tenants < limit]
        if not free:
            loads = ", ".join(f"{name!r} has {tenants}" for name, tenants in usable.items()) or "there is none"
            raise ConfigurationError(
                f"Every database has its {limit} tenants ({loads}). Add a database to Tenancy({{...}}), or raise the "
                "limit of fill_first()."
            )
        return max(free, key=usable.__getitem__)

    return choose


def by_attribute(
    name: str, databases: Mapping[object, str | PlacementPolicy], *, otherwise: str | PlacementPolicy | None = None
) -> PlacementPolicy:
    """Return the policy that chooses by an attribute of the new tenant.

    :param name: the attribute's name.
    :param databases: for each of its values, a database, or another policy, such as `fill_first`.
    :param otherwise: the database, or the policy, for all other tenants. Without it, they are refused.
    """
    choice = either(NAME, FUNCTION)
    require(name=(name, NAME), databases=(databases, MAPPING), otherwise=(otherwise, optional(choice)))
    for value, chosen in databases.items():
        require(**{f"databases[{value!r}]": (chosen, choice)})

    def choose(tenant: NewTenant, known: Mapping[str, DatabaseLoad]) -> str:
        value = tenant.attributes.get(name)
        found = next((chosen for each, chosen in databases.items() if each == value), otherwise)
        if found is None:
            raise ConfigurationError(
                f"The attribute {name!r} is {value!r}, for which by_attribute() has no database. Give the tenant "
                f"one of {', '.join(map(repr, databases))}, or give by_attribute() otherwise=."
            )
        return found if isinstance(found, str) else found(tenant, known)

    return choose
