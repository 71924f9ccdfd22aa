"""Log records say for which tenant they were written."""

from __future__ import annotations

import logging

from typing_extensions import override

from tenantkit import Tenancy, tenant_context
from tenantkit.logging import TenantFilter


def test_a_record_has_the_key_of_the_tenant_it_was_written_for(tenancy: Tenancy) -> None:
    written: list[str] = []

    class Handler(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Handler()
    handler.addFilter(TenantFilter())
    handler.setFormatter(logging.Formatter("[%(tenant)s] %(message)s"))
    logger = logging.getLogger("tests.frameworks.any_library")
    logger.addHandler(handler)
    logger.warning("outside")
    with tenant_context(tenancy.get("acme")):
        logger.warning("inside")
    logger.removeHandler(handler)
    assert written == ["[-] outside", "[acme] inside"]
