"""Writing environments and revisions."""
