"""Drift: differences between tenants' tables and those expected, in words and as the SQL that repairs them."""

from tenantkit.drift.catalog.shape import Item, Key, Kind
from tenantkit.drift.checking import check
from tenantkit.drift.compare import Change, Difference
from tenantkit.drift.report import DriftReport, Group, Odd

__all__ = ["Change", "Difference", "DriftReport", "Group", "Item", "Key", "Kind", "Odd", "check"]
