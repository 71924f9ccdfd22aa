"""The application's extensions; `create_app` connects them to it."""

from flask_wtf import CSRFProtect

from tenantkit.flask import TenantKit

kit = TenantKit()
csrf = CSRFProtect()

OPERATOR = "tracker_operator"
"""The name of the tenancy that creates tenants, among Flask's extensions."""
