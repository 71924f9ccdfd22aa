"""Spares: schemas with tables that are made in advance, so that a new tenant only takes one over.

`keep_spares` makes and checks them once, and `SpareKeeper` in the background. `tenantkit.Tenancy.create` claims them.
"""

from tenantkit.spares.keep import SpareReport, keep_spares
from tenantkit.spares.keeper import SpareKeeper

__all__ = ["SpareKeeper", "SpareReport", "keep_spares"]
