"""A test kit for applications: fixtures for pytest, and proof that no tenant sees another's rows.

The fixtures are there once tenantkit is installed. Importing this package does not import pytest.
"""

from typing import TYPE_CHECKING

from tenantkit.lazy_names import lazy_names

if TYPE_CHECKING:
    from tenantkit.testing.sessions import async_rolled_back, rolled_back

__all__ = ["async_rolled_back", "rolled_back"]

__getattr__, __dir__ = lazy_names(globals(), ("sessions",))
