"""A project tracker: the tables, accounts and data that both example applications share."""
