"""Tenants with databases of their own."""
