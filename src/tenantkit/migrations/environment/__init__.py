"""Running Alembic's environment for one placement: the only package that changes how Alembic works."""
