"""Which placements a run is for, where each is, and where it is to go."""
