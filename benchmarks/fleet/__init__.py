"""Migrating a fleet: tenantkit beside Alembic, and beside what the database itself needs."""
