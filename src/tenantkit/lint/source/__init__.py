"""A revision's file, without running it."""
