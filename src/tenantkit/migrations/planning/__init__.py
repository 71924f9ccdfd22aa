"""The plan of a run: its placements, the revision of each, and its target."""
