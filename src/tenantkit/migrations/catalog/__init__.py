"""Queries of the catalog that operations and revisions share."""
