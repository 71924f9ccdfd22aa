"""Recording of Alembic's statements for one placement, and their replay for others."""
