"""Rendering: a revision runs on a database that does not exist, and its statements are recorded."""
