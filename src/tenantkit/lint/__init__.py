"""Checks of revisions for a fleet, without a database."""

from tenantkit.lint.check import lint
from tenantkit.lint.findings import Finding, Report

__all__ = ["Finding", "Report", "lint"]
