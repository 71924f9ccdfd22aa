"""What runs over the fleet do, kept in the database: the ledger, claims and maintenance."""
