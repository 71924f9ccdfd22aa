"""The result of migrating one placement."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantkit.exceptions import as_clause
from tenantkit.tenant import MAIN_DATABASE, Placement
from tenantkit.user_code import describe_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of migrating one tenant."""

    key: str
    schema: str
    from_revision: str | None
    """Where the tenant was; ``None`` if at no revision. Several heads are joined by commas."""
    to_revision: str | None
    """Where it is now; after a failure, where it still is."""
    engine: str | None = None
    """What migrated it: ``replay`` or ``alembic``."""
    attempts: int = 1
    """How often it was tried, because locks stood in the way."""
    duration_ms: int = 0
    sqlstate: str | None = None
    error: str | None = None
    """Why it failed, in one line; ``None`` if it did not."""
    revision: str | None = None
    """The revision that failed, if one did; at a commit, the first and the last of those that it was for."""
    file: str | None = None
    """The file in which it failed: the revision's, or ``env.py``."""
    line: int | None = None
    """The line of that file."""
    traceback: str | None = None
    """The traceback of the failure, if Python code failed. It holds no parameters of statements."""
    database: str = field(default=MAIN_DATABASE, repr=False)
    """The name of the database that the schema is in."""

    @property
    def placement(self) -> Placement:
        """Where the tenant's tables are."""
        return Placement(self.database, self.schema)

    @property
    def reason(self) -> str:
        """Why it failed and where, in one line; an empty string if it did not fail."""
        error = self.error or ""
        return f"{as_clause(error)} ({self.place})" if self.place else error

    @property
    def place(self) -> str:
        """Revision, file and line of the failure, in words, as far as they are known; else an empty string."""
        return describe_place(self.revision, self.file, self.line)

    @property
    def ok(self) -> bool:
        """Whether the tenant is where it should be."""
        return self.error is None

    @property
    def has_moved(self) -> bool:
        """Whether this run brought it from one revision to another."""
        return self.from_revision != self.to_revision
