"""The parameters that several commands have."""
