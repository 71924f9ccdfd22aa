"""Statements, parsed by PostgreSQL's own parser, and the values that rules need."""
