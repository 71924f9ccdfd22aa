"""The state of runs in the database: the ledger, claims and maintenance."""
