"""Creating and dropping tenants so that nothing half-made survives a crash."""
