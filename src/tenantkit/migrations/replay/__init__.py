"""Recording what Alembic sends to one placement, and sending it to others."""
