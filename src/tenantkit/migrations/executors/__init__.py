"""Executors: they migrate a placement with Alembic, in this process or in another one."""
