"""Applications built on tenantkit."""
