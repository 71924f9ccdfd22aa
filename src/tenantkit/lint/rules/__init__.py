"""The rules: each finds one kind of problem in a revision."""
