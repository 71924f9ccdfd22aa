"""The current tenant in log records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from tenantkit.context import current_tenant_or_none

__all__ = ["TenantFilter"]


class TenantFilter(logging.Filter):
    """Gives every record the key of the tenant that it was written for as ``tenant``, or ``-``.

    Add it to handlers, not loggers, so that it sees the records of all libraries::

        handler = logging.StreamHandler()
        handler.addFilter(TenantFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s [%(tenant)s] %(message)s"))

    The handler may run in another thread, for example behind a `logging.handlers.QueueListener`: making a filter
    wraps the process's log record factory, so that each record notes the tenant when it is created.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        factory = logging.getLogRecordFactory()
        if not isinstance(factory, _Factory):
            logging.setLogRecordFactory(_Factory(factory))

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.tenant = getattr(record, _NOTE, None) or _current_key()
        return True


_NOTE = "_tenantkit_tenant"
"""The attribute of a record; not ``tenant``, which an application may pass as ``extra=`` only if it does not exist."""


class _Factory:
    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._factory(*args, **kwargs)
        setattr(record, _NOTE, _current_key())
        return record


def _current_key() -> str:
    tenant = current_tenant_or_none()
    return "-" if tenant is None else tenant.key
