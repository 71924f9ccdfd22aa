"""The result of migrating one placement."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenantkit.exceptions.base import as_clause
from tenantkit.tenant import MAIN_DATABASE, Placement
from tenantkit.user_code import describe_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of migrating one tenant."""

    key: str
    schema: str
    from_revision: str | None
    """The tenant's revision before; ``None`` if it had none. Several heads are joined by commas."""
    to_revision: str | None
    """Its revision now, also after a failure."""
    engine: str | None = None
    """The engine that migrated it: ``replay`` or ``alembic``."""
    attempts: int = 1
    """Number of attempts. Lock conflicts cause more than one."""
    duration_ms: int = 0
    sqlstate: str | None = None
    error: str | None = None
    """Why it failed, in one line; ``None`` if it did not."""
    revision: str | None = None
    """The revision that failed; if the commit failed, the first and the last revision of the transaction."""
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
        """The placement of the tenant's tables."""
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
        """Whether the tenant is at the target."""
        return self.error is None

    @property
    def has_moved(self) -> bool:
        """Whether this run brought it from one revision to another."""
        return self.from_revision != self.to_revision
