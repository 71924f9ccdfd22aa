"""The current tenant in log records."""

from __future__ import annotations

import logging

from typing_extensions import override

from tenantkit.context import current_tenant_or_none


class TenantFilter(logging.Filter):
    """Gives every record the current tenant's key as ``tenant``, or ``-``.

    Add it to handlers, not loggers, so that it sees the records of all libraries::

        handler = logging.StreamHandler()
        handler.addFilter(TenantFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s [%(tenant)s] %(message)s"))
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        tenant = current_tenant_or_none()
        record.tenant = "-" if tenant is None else tenant.key
        return True
