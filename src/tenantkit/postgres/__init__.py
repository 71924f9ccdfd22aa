"""PostgreSQL: errors, limits, locks and SQL text. Knows no tenant."""
