"""The isolations: the same requests of the same tenants, in each of them, and written by hand."""
