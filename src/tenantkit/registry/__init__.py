"""The table-backed list of tenants: its tables, its own migration, its cache and what keeps that true."""
