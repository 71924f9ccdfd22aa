"""Isolation of tenants: bindings and schemas."""
