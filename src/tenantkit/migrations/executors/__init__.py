"""What migrates a placement: Alembic in this process, or in another one."""
