"""Database isolation: a database for each tenant."""
