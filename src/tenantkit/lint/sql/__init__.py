"""Statements as PostgreSQL's own parser reads them, and the small values that rules ask for."""
