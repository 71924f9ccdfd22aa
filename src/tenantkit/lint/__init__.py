"""Linting revisions before they meet a fleet."""

from tenantkit.lint.check import lint
from tenantkit.lint.findings import Finding, Report

__all__ = ["Finding", "Report", "lint"]
