"""The registry of tenants: its tables, their own migration, the cache and its listener."""
