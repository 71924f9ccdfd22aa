"""How a tenant is kept apart from others: what a session needs to serve it, and where its tables are."""
