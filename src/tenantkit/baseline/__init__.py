"""Baselines: one revision in place of all earlier ones, for a past that is long or does not start from nothing."""

from tenantkit.baseline.report import Baseline
from tenantkit.baseline.squashing import squash

__all__ = ["Baseline", "squash"]
