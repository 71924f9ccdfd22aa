"""Admission of requests, and web sessions of one tenant. Knows no framework."""
