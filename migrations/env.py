"""The Alembic environment of both lines of revisions; tenantkit runs it once for every tenant."""

from tenantkit.migrations import run_environment

run_environment()
