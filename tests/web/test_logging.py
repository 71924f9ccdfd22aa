"""Log records have the tenant for which they were written."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import queue
from collections.abc import Generator

import pytest
from typing_extensions import override

from tenantkit import Tenancy, tenant_context
from tenantkit.logging import TenantFilter


@pytest.fixture(autouse=True)
def factory() -> Generator[None]:
    """The process's log record factory, as it was before a filter was made."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    logging.setLogRecordFactory(before)


class Handler(logging.Handler):
    """Collects formatted records."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


def test_a_record_has_the_key_of_the_tenant_it_was_written_for(tenancy: Tenancy) -> None:
    handler = Handler()
    handler.addFilter(TenantFilter())
    handler.setFormatter(logging.Formatter("[%(tenant)s] %(message)s"))
    logger = logging.getLogger("tests.web.any_library")
    logger.addHandler(handler)
    logger.warning("outside")
    with tenant_context(tenancy.get("acme")):
        logger.warning("inside")
    logger.removeHandler(handler)
    assert handler.written == ["[-] outside", "[acme] inside"]


def test_a_record_keeps_the_tenant_that_it_was_written_for_in_another_thread(tenancy: Tenancy) -> None:
    handler = Handler()
    handler.addFilter(TenantFilter())
    handler.addFilter(TenantFilter())
    handler.setFormatter(logging.Formatter("[%(tenant)s] %(message)s"))
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    queued = logging.handlers.QueueHandler(records)
    listener = logging.handlers.QueueListener(records, handler)
    logger = logging.getLogger("tests.web.any_library")
    logger.addHandler(queued)
    listener.start()
    logger.warning("outside")
    with tenant_context(tenancy.get("acme")):
        logger.warning("inside", extra={"tenant": "of the application"})
    listener.stop()
    logger.removeHandler(queued)
    assert handler.written == ["[-] outside", "[acme] inside"]


def test_the_applications_own_record_factory_is_kept(tenancy: Tenancy) -> None:
    class Record(logging.LogRecord):
        """The application's own class of records."""

    logging.setLogRecordFactory(Record)
    for _ in range(2):
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "filters": {"tenant": {"()": TenantFilter}}}
        )
    with tenant_context(tenancy.get("acme")):
        record = logging.makeLogRecord({})
    assert isinstance(record, Record)
    TenantFilter().filter(record)
    assert vars(record)["tenant"] == "acme"
