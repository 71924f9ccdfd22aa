"""Creation, removal and repair of tenants; each survives a crash."""
