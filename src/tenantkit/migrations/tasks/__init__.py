"""Many tasks at once: the queue, its concurrency, and connections. Knows no Alembic."""
