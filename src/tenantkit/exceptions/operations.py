"""Errors of statements, and of what operators do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenantkit.exceptions.base import TenantkitError, as_clause
from tenantkit.status import Status, describe


class CrossDatabaseError(TenantkitError):
    """A statement, or a transaction, of a tenant's session needs tables of two databases."""

    def __init__(self, tenant: str, database: str, reason: str) -> None:
        self.tenant = tenant
        self.database = database
        """The name of the tenant's database."""
        self.reason = reason
        super().__init__(f"Tenant {tenant!r} is in the database {database!r}, shared tables are in 'main'. {reason}")


class RawSQLForbiddenError(TenantkitError):
    """Textual SQL was executed in a session with ``raw_sql="forbid"``, or text that would end the transaction."""

    def __init__(
        self,
        tenant: str,
        hint: str = "Use ORM or Core constructs on declared tables, tenant_text(), or pass raw_sql='allow'.",
    ) -> None:
        self.tenant = tenant
        super().__init__(f"This textual SQL is forbidden in sessions of tenant {tenant!r}. {hint}")


class ProvisioningError(TenantkitError):
    """A tenant could not be created, renamed or dropped; running the same call again resumes."""

    def __init__(self, tenant: str, step: str, reason: str) -> None:
        self.tenant = tenant
        self.step = step
        super().__init__(
            f"Tenant {tenant!r}: {step} failed ({as_clause(reason)}). "
            "Fix the cause, then repeat the call or command: it resumes."
        )


class SchemaRenameError(TenantkitError):
    """A schema cannot be renamed: texts in the database name it, or a migration is at work on it."""

    def __init__(self, schema: str, reason: str, sqlstate: str | None = None) -> None:
        self.schema = schema
        self.reason = reason
        self.sqlstate = sqlstate
        """That of a lock conflict if another attempt may succeed."""
        super().__init__(f"The schema {schema!r} cannot be renamed: {as_clause(reason)}.")


class BackupError(TenantkitError):
    """A tenant cannot be backed up or cloned, or the file of a backup cannot be written, read or restored."""

    def __init__(self, subject: str, reason: str, advice: str) -> None:
        self.subject = subject
        """The tenant's key, or the path of the file."""
        self.reason = reason
        super().__init__(f"{subject}: {as_clause(reason)}. {advice}")


class DrainError(TenantkitError):
    """Transactions of a tenant that is not served any more, or is read-only, are still in flight."""

    def __init__(
        self, tenant: str, status: Status | str, running: Sequence[int], reasons: Sequence[str], ended: Sequence[int]
    ) -> None:
        self.tenant = tenant
        self.status = status
        self.running = tuple(running)
        """The process ids of those that have one in PostgreSQL."""
        self.reasons = tuple(reasons)
        self.ended = tuple(ended)
        """The process ids of those that were cut off."""
        super().__init__(
            f"Tenant {tenant!r} is {describe(status)}, but transactions are still in flight: "
            f"{'; '.join(map(as_clause, reasons))}. "
            f"Those that were cut off: {len(ended)}. Repeat the call or command to wait again."
        )


class AdoptionError(TenantkitError):
    """Schemas cannot be adopted; ``report`` has the obstacles of each. Nothing was changed."""

    _SHOWN = 5

    def __init__(self, report: Any) -> None:
        self.report = report
        found = [as_clause(each) for each in report.obstacles]
        more = f"; and {len(found) - self._SHOWN} more, which --dry-run shows" if len(found) > self._SHOWN else ""
        super().__init__(f"Nothing was adopted: {'; '.join(found[: self._SHOWN])}{more}.")


class MigrationError(TenantkitError):
    """A fleet migration ended with failures; ``report`` has every outcome."""

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__(str(report))
