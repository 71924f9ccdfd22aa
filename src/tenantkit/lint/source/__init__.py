"""Static analysis of a revision's file."""
