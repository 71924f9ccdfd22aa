"""The SQL that makes one shape of another."""
