"""The shapes of schemas, read from the catalog."""
