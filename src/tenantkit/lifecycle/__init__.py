"""Creation, removal, renaming, swaps, draining and repair of tenants; each survives a crash.

Applications create and remove tenants by methods of `tenantkit.Tenancy`; functions for operators are here.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.lifecycle.draining import Drained, drain
    from tenantkit.lifecycle.drop_plan import DropPlan, preview_drop
    from tenantkit.lifecycle.renaming import Renaming, rename
    from tenantkit.lifecycle.scheduled_drop import DueDrops, cancel_drop, drop_due
    from tenantkit.lifecycle.swapping import Swap, swap

__all__ = [
    "Drained",
    "DropPlan",
    "DueDrops",
    "Renaming",
    "Swap",
    "cancel_drop",
    "drain",
    "drop_due",
    "preview_drop",
    "rename",
    "swap",
]

__getattr__, __dir__ = lazy_names(globals(), ("draining", "drop_plan", "renaming", "scheduled_drop", "swapping"))
