"""Execution of Alembic's environment for one placement: the only package that changes Alembic's behaviour."""
