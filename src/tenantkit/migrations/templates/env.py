"""The Alembic environment of the shared and the tenant revisions; tenantkit runs it once for every tenant."""

from tenantkit.migrations import run_environment

run_environment()
