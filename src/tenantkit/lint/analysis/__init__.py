"""Effects of statements on tables and databases, for several rules."""
