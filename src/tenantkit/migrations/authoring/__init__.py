"""Creation of migration environments and revisions."""
