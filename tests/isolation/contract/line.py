"""Lines of the table in the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One property of an isolation, and the words of the table for it."""

    title: str
    held: str = "own"
    """What the table says where all cases of the line hold."""
    lacking: str = "common"


ORM = Line("rows, by the ORM")
CORE = Line("rows, by Core")
BULK = Line("rows, by bulk statements of the ORM")
UPSERT = Line("rows, by upsert (ON CONFLICT)")
TEXT = Line("rows, by text")
UPSERT_TEXT = Line("rows, by upsert in text that names the key", "own", "refused")
CURSOR = Line("rows, by the driver's own cursor")
COPY_OUT = Line("rows, by COPY TO")
COPY_IN = Line("rows, by COPY FROM", "own", "refused")
VIEW = Line("rows, through a view")
FUNCTION = Line("rows, through a function")
TRIGGER = Line("rows, through a trigger")
AGGREGATE = Line("counts and other aggregates")
PREPARED = Line("prepared statements, and the types in them")
PRIMARY_KEY = Line("primary keys")
UNIQUE = Line("unique constraints")
TENANT_KEY = Line("foreign key to a row of another tenant", "refused", "accepted")
SHARED_KEY = Line("foreign key to a row of a shared table", "enforced", "not enforced")
SHARED_ROW = Line("rows of shared tables", "readable", "out of reach")
SHARED_JOIN = Line("statement over shared tables and the tenant's", "executed", "refused")
SEQUENCE = Line("numbers of a sequence")
NO_TENANT = Line("statement without a tenant", "fails", "sent")
WRONG_TENANT = Line("statement, or object, of another tenant than the session's", "refused", "accepted")
LEFT_BEHIND = Line("settings, temporary tables and locks left on a connection")
CREATION = Line("creation and removal")
DOCTOR = Line("repair of an interrupted creation")
MIGRATION = Line("revision and status")
FAILURE = Line("migration that fails", "of its tenant", "of all in that place")
DRIFT = Line("change of a table by hand", "found in its tenant", "found in all of that place")
TABLE_LOCK = Line("lock of a table")
ADVISORY_LOCK = Line("advisory locks")
LARGE_OBJECT = Line("large objects")
STATISTICS = Line("statistics of the planner (`pg_stats`)")
CATALOG = Line("names in the catalog")
ACTIVITY = Line("running statements (`pg_stat_activity`)")

LINES = [value for value in globals().values() if isinstance(value, Line)]
"""All lines, in the order of the table."""
