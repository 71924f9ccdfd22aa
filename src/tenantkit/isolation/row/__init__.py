"""Row isolation: the rows of many tenants in the tables of one common schema, divided by a column."""
