"""What statements do to tables and to a database, as several rules ask."""
