"""A test kit for applications: fixtures for pytest, and proof that no tenant sees another one's rows.

pytest has the fixtures once tenantkit is installed. Importing this package does not import pytest.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.testing.canaries import Canaries, Canary
    from tenantkit.testing.clients import Client, Request, Response
    from tenantkit.testing.isolation import assert_isolated
    from tenantkit.testing.planting import plant
    from tenantkit.testing.report import IsolationReport, Leak, LeakError, UnprovenWarning
    from tenantkit.testing.row_checks import tripwire
    from tenantkit.testing.sessions import async_rolled_back, rolled_back

__all__ = [
    "Canaries",
    "Canary",
    "Client",
    "IsolationReport",
    "Leak",
    "LeakError",
    "Request",
    "Response",
    "UnprovenWarning",
    "assert_isolated",
    "async_rolled_back",
    "plant",
    "rolled_back",
    "tripwire",
]

__getattr__, __dir__ = lazy_names(
    globals(), ("sessions", "canaries", "clients", "report", "row_checks", "planting", "isolation")
)
