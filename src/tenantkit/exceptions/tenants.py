"""Errors about one tenant: its name, its status, and whose it is."""

from __future__ import annotations

from datetime import datetime

from tenantkit.exceptions.base import TenantkitError, as_clause
from tenantkit.status import Status, describe


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


_CANCEL = "cancel its drop first ('tenantkit drop {} --cancel')"


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
