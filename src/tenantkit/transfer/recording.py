"""The line of a tenant's history about a copy of its rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError

from tenantkit.deployment import Deployment
from tenantkit.postgres.errors import reason
from tenantkit.registry import history
from tenantkit.registry.history import Event
from tenantkit.tenant import Tenant

_NAMES = {Event.BACKED_UP: "backup", Event.EXPORTED: "export"}

_log = logging.getLogger("tenantkit.transfer")


def record(tenancy: Deployment, tenant: Tenant, event: Event, details: Mapping[str, Any]) -> None:
    """Write *event* into the tenant's history, where the login may: a copy needs to read only."""
    try:
        with tenancy.engine.begin() as connection:
            history.record(connection, tenant, event, details)
    except DBAPIError as error:
        _log.warning("The %s of tenant %r is not in its history: %s", _NAMES[event], tenant.key, reason(error))
