"""Creation, removal, renaming and repair of tenants; each survives a crash.

Applications create and remove tenants by methods of `tenantkit.Tenancy`; functions for operators are here.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.lifecycle.renaming import Renaming, rename

__all__ = ["Renaming", "rename"]

__getattr__, __dir__ = lazy_names(globals(), ("renaming",))
