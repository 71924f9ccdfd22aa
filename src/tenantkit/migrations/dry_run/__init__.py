"""What a migration would do, without doing it."""
