"""SQLAlchemy sessions for one tenant, or for shared tables, and all listeners on them."""
