"""Results of migrations: values."""
