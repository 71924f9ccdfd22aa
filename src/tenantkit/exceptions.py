"""The errors that tenantkit raises.

::

    TenantkitError
    ├── ConfigurationError
    ├── InvalidTenantKeyError (ValueError)
    ├── InvalidDomainError (ValueError)
    ├── NoCurrentTenantError (LookupError)
    ├── TenantMismatchError
    ├── TenantNotFoundError (LookupError)
    ├── TenantExistsError
    ├── DomainExistsError
    ├── TenantUnavailableError
    │   ├── TenantMovedError
    │   └── TenantReadOnlyError
    ├── IllegalTransitionError
    ├── CrossDatabaseError
    ├── RawSQLForbiddenError
    ├── ProvisioningError
    ├── SchemaRenameError
    ├── BackupError
    ├── DrainError
    ├── AdoptionError
    └── MigrationError

Every message says what to do next, and none contains a password. Errors of the
database itself (`sqlalchemy.exc.DBAPIError`) are passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from typing_extensions import override

from tenantkit.status import Status, describe

_CANCEL = "cancel its drop first ('tenantkit drop {} --cancel')"


def as_clause(message: object) -> str:
    """Return the text of *message*, often another library's error, on one line and without punctuation at its end.

    It can then be part of a sentence of our own, which goes on after it.
    """
    return " ".join(str(message).split()).rstrip(".:;, ")


class TenantkitError(Exception):
    """The base of every error that tenantkit raises.

    Errors can be pickled and copied, as process pools and task queues do, with their text and attributes. ``args``
    has the arguments of the class, not the text, since some queues call the class with them.
    """

    def __init__(self, *text: object) -> None:
        # Not Exception's own, which would replace the arguments by the text.
        self._text = text[0] if len(text) == 1 else None

    @override
    def __str__(self) -> str:
        return super().__str__() if self._text is None else str(self._text)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls the class, which may need more than its positional arguments.
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[TenantkitError], arguments: tuple[Any, ...]) -> TenantkitError:
    return kind.__new__(kind, *arguments)


class ConfigurationError(TenantkitError):
    """The application, its metadata or its environment is not set up correctly."""


class InvalidTenantKeyError(TenantkitError, ValueError):
    """A tenant key breaks the rules of `tenantkit.naming.validate_key`."""

    def __init__(self, key: object, reason: str, hint: str | None = None) -> None:
        self.key = key
        self.reason = reason
        rule = "Use lower-case letters, digits, '-' and '_', starting with a letter."
        super().__init__(" ".join(filter(None, (f"{key!r} is no valid tenant key: {as_clause(reason)}.", rule, hint))))


class InvalidDomainError(TenantkitError, ValueError):
    """A domain is not a host name, or is reserved."""

    def __init__(self, domain: object, reason: str | None = None) -> None:
        self.domain = domain
        self.reason = reason
        super().__init__(
            f"{domain!r} is no valid domain{f': {reason}' if reason else ''}. "
            "Use a plain host name such as 'acme.example.com', without scheme or path."
        )


class NoCurrentTenantError(TenantkitError, LookupError):
    """Code that needs a tenant ran without one."""

    def __init__(self) -> None:
        super().__init__(
            "There is no current tenant. Pass one to session(), enter tenant_context(tenant), "
            "or mark the route as shared if it needs none."
        )


class TenantMismatchError(TenantkitError):
    """A session, an object, a schema or a tenancy of one tenant was used for another."""

    def __init__(
        self,
        bound: str,
        current: str | None,
        message: str | None = None,
        instance: str | None = None,
        schema: str | None = None,
    ) -> None:
        if instance is not None or schema is not None:  # which are passed by keyword
            self.args = (bound, current, message, instance, schema)
        self.bound = bound
        """The key of the tenant that the session, or the object, belongs to."""
        self.current = current
        """The key of the tenant that it was used for, or ``None``."""
        self.instance = instance
        """The object, if it was one."""
        self.schema = schema
        """The schema, if a ``schema_translate_map`` named another than the tenant's."""
        if message is not None:
            text = message
        elif instance is not None:
            text = (
                f"{instance} is a row of tenant {bound!r}, but this session serves tenant {current!r}. "
                f"Load the row of {current!r} in this session, or copy the values into a new object."
            )
        elif schema is not None:
            text = (
                f"This session belongs to tenant {bound!r}, but a schema_translate_map leads to the schema {schema!r}. "
                "Leave the placeholder out of it: the session has its own map."
            )
        else:
            text = (
                f"This session belongs to tenant {bound!r}, but the current tenant is {current!r}. "
                "A session serves one tenant for its whole life: open a new one."
            )
        super().__init__(text)

    @classmethod
    def of_registries(cls, key: str, theirs: str, ours: str) -> TenantMismatchError:
        """Return the error for a tenant of another registry."""
        return cls(
            f"{ours}/{key}",
            f"{theirs}/{key}",
            f"Tenant {key!r} is from registry {theirs or 'none'}, but this tenancy has registry {ours}. "
            "Look the tenant up with the tenancy that is to serve it.",
        )

    @classmethod
    def of_ids(cls, key: str, before: int, now: int) -> TenantMismatchError:
        """Return the error for a tenant whose key belongs to another tenant now."""
        return cls(
            f"{key} (id {now})",
            f"{key} (id {before})",
            f"The key {key!r} belonged to the tenant with id {before}, and belongs to the tenant with id {now} now. "
            "Look the tenant up again.",
        )


class TenantNotFoundError(TenantkitError, LookupError):
    """The registry knows no such tenant or domain."""

    def __init__(self, key: str | None = None, domain: str | None = None) -> None:
        self.args = (key, domain)
        self.key = key
        self.domain = domain
        if key is not None and domain is not None:
            text = (
                f"Tenant {key!r} does not have the domain {domain!r}. "
                "'tenantkit domain list' shows the tenant of each domain."
            )
        else:
            what = f"tenant {key!r}" if domain is None else f"tenant with the domain {domain!r}"
            text = f"There is no {what}. 'tenantkit list' shows those that exist."
        super().__init__(text)


class TenantExistsError(TenantkitError):
    """The key is taken, or another process is provisioning it right now."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"Tenant {key!r} exists already. Choose another key.")


class DomainExistsError(TenantkitError):
    """The domain belongs to another tenant."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        super().__init__(f"The domain {domain!r} is taken. Remove it from its tenant first.")


class TenantUnavailableError(TenantkitError):
    """The tenant exists, but its status, or this version of tenantkit, does not allow it to be served."""

    def __init__(
        self,
        tenant: str,
        status: Status | str,
        reason: str | None = None,
        message: str | None = None,
        until: datetime | None = None,
    ) -> None:
        if message is not None or until is not None:  # which are passed by keyword
            self.args = (tenant, status, reason, message, until)
        self.tenant = tenant
        self.status = status
        self.reason = reason
        self.message = message
        """What the tenant's visitors are told meanwhile."""
        self.until = until
        """The announced end."""
        if reason is not None:
            text = f"Tenant {tenant!r} cannot be used here: {as_clause(reason)}."
        else:
            remedy = _CANCEL.format(tenant) if status == Status.DROP_SCHEDULED else "resume or repair it"
            text = f"Tenant {tenant!r} is {describe(status, message, until)}. {self._advice.format(remedy)}"
        super().__init__(text)

    _advice = "Only active tenants are served: {}, or open the session with any_status=True for maintenance."


class TenantReadOnlyError(TenantUnavailableError):
    """A session of a tenant that is read-only has tried to write."""

    _advice = "Its sessions only read: resume the tenant, or open the session with any_status=True for maintenance."


class TenantMovedError(TenantUnavailableError):
    """The tenant has other tables now than a session, or this process, knew. The same work in a new session succeeds.

    Nothing was written.
    """

    def __init__(self, tenant: str, status: Status | str) -> None:
        super().__init__(
            tenant, status, "its tables have moved since this session was made: make a new one, and repeat the work"
        )


class IllegalTransitionError(TenantkitError):
    """The tenant's status does not permit the requested change."""

    def __init__(self, tenant: str, status: Status, wanted: Status) -> None:
        self.tenant = tenant
        self.status = status
        self.wanted = wanted
        remedy = f"'tenantkit show {tenant}' shows its status."
        if status == Status.DROP_SCHEDULED:
            remedy = f"{_CANCEL.format(tenant).capitalize()}."
        super().__init__(f"Tenant {tenant!r} is {status!s} and cannot become {wanted!s}. {remedy}")


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
    """A tenant cannot be backed up, or the file of a backup cannot be written, read or restored."""

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
