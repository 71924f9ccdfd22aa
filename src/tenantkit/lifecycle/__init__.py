"""Creation, removal, renaming and repair of tenants; each survives a crash.

Applications create and remove tenants by methods of `tenantkit.Tenancy`; functions for operators are here.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.lifecycle.renaming import Renaming, rename
    from tenantkit.lifecycle.scheduled_drop import DueDrops, cancel_drop, drop_due

__all__ = ["DueDrops", "Renaming", "cancel_drop", "drop_due", "rename"]

__getattr__, __dir__ = lazy_names(globals(), ("renaming", "scheduled_drop"))
