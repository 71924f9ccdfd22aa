"""Running a revision on a database that does not exist, to see what it sends."""
