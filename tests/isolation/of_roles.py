"""Roles of tenants, as tests look at them and damage them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Engine, text

from tenantkit import Tenant
from tests.isolation.contract.application import KEYS
from tests.isolation.contract.deployment import Deployment

Deploy = Callable[..., Deployment]

_ROLES = text("SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE :mark ORDER BY rolname")


def roles_in(deployment: Deployment, key: str = KEYS[0]) -> list[str]:
    """Return the roles of the deployment's tenants, of which *key* is one."""
    registry = deployment.operator.get(key).registry
    with deployment.engines["main"].connect() as connection:
        return list(connection.scalars(_ROLES, {"mark": f"tenantkit tenant {registry}/%"}))


def execute(engine: Engine, *statements: str) -> None:
    """Execute *statements* as a superuser."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def tenants_of(deployment: Deployment) -> Sequence[Tenant]:
    """Return the tenants of the contract."""
    return [deployment.operator.get(key) for key in KEYS]


def granted_by(engine: Engine, statement: str) -> str:
    """Return a statement without GRANTED BY before PostgreSQL 16, where it is not needed."""
    with engine.connect() as connection:
        if (connection.dialect.server_version_info or ()) >= (16,):
            return statement
    return statement.partition(" GRANTED BY")[0]
