"""Where the data of a tenant is, how much it is, and what happened to the tenant."""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names
from tenantkit.registry.history import Event, HistoryEntry

if TYPE_CHECKING:
    from tenantkit.usage.describing import TenantDescription, describe
    from tenantkit.usage.sizes import TableSize

__all__ = ["Event", "HistoryEntry", "TableSize", "TenantDescription", "describe"]

__getattr__, __dir__ = lazy_names(globals(), ("sizes", "describing"))
