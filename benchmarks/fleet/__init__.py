"""Migrations of a fleet: tenantkit, Alembic, and raw SQL as the limit."""
