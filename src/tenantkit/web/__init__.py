"""Requests: which tenant one is for, and whether it is served. Knows no framework."""
