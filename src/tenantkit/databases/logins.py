"""Logins of single tenants, whose passwords are derived from a secret of the application and stored nowhere."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from typing_extensions import override

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.postgres.errors import reason

Opened = TypeVar("Opened")

_REFUSALS = ("authentication failed", "permission denied for database", "CONNECT privilege")
"""Words of errors of a server that refuses a login, without its name."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret from which passwords are derived, in front of the ones that it replaces."""

    values: tuple[str, ...] = field(repr=False)

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("The secret of guard='login' cannot be pickled.")

    @property
    def newest(self) -> Secret:
        """The secret without those that it replaces."""
        return Secret(self.values[:1])

    def passwords_of(self, name: str) -> list[str]:
        """Return the passwords that the login *name* may have, the one that it should have first."""
        message = f"tenantkit login {name}".encode()
        return [urlsafe_b64encode(hmac.digest(each.encode(), message, "sha256")).decode() for each in self.values]


@dataclass(frozen=True, slots=True)
class Login:
    """The login of one tenant."""

    name: str
    secret: Secret

    @property
    def password(self) -> str:
        """The password that it should have."""
        return self.secret.passwords_of(self.name)[0]

    def connect(self, connect: Callable[[dict[str, Any]], Opened]) -> Opened:
        """Return what *connect* opens, which receives the user and the password as drivers take them.

        :raises ConfigurationError: if the server refuses the login.
        """
        refused: Exception | None = None
        for password in self.secret.passwords_of(self.name):
            try:
                return connect({"user": self.name, "password": password})
            except Exception as error:
                if not self._is_refused(error):
                    raise
                refused = error
        raise ConfigurationError(
            f"The login {self.name!r} of a tenant is refused: {as_clause(reason(refused))}. Run 'tenantkit doctor "  # type: ignore[arg-type]
            "--repair' with the login that creates tenants and the same guard_secret=: it makes the logins of "
            "guard='login', and sets their passwords."
        ) from refused

    def _is_refused(self, error: Exception) -> bool:
        words = str(error)
        return "too many connections" not in words and any(each in words for each in (self.name, *_REFUSALS))
