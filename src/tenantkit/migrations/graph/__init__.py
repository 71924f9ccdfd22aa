"""The two graphs of revisions, shared and tenant, as Alembic and the folder have them."""
