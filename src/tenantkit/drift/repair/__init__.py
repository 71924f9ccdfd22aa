"""The SQL that changes one shape into another."""
