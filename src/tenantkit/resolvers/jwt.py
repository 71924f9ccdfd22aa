"""Tenants by a claim of a JSON Web Token, which PyJWT verifies (extra ``tenantkit[jwt]``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jwt

from tenantkit.arguments import FUNCTION, NAME, TEXT, TEXTS, Kind, either, number, optional, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.resolvers.target import ByKey

if TYPE_CHECKING:
    from tenantkit.resolvers.request import RequestView

_UNKNOWN = ByKey("")
_KEY = Kind(
    "a key, not an empty one", bool, advice=lambda _name, _value: "Is the setting set that holds it?", is_secret=True
)


def bearer_token(request: RequestView) -> str | None:
    """Return the token of an ``Authorization: Bearer …`` header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class JWTClaim:
    """A claim of a verified token is the key.

    ::

        JWTClaim("tenant", key=PUBLIC_KEY, algorithms=["RS256"], audience="api", issuer="https://login.example.com")

    Signature and times are always verified. A token that is expired, forged,
    malformed or without the claim makes an unknown tenant, also in `first_of`;
    only a request without any token is passed on to the next resolver.
    """

    def __init__(
        self,
        claim: str,
        *,
        key: Any,
        algorithms: Sequence[str],
        audience: str | Sequence[str] | None = None,
        issuer: str | Sequence[str] | None = None,
        leeway: float = 0,
        token: Callable[[RequestView], str | None] = bearer_token,
    ) -> None:
        """Prepare the check.

        :param claim: the claim that holds the tenant's key.
        :param key: the secret or public key, in whatever form PyJWT takes.
        :param algorithms: those that are accepted, and no other; of one kind, HMAC or public-key.
        :param leeway: by how many seconds clocks may differ.
        :param token: where the token is, for example ``lambda request: request.cookies.get("token")``.
        :raises TypeError: if an argument has the wrong type.
        :raises ConfigurationError: if no algorithm is named, ``none`` is among them, or the kinds are mixed.
        """
        require(
            claim=(claim, NAME),
            key=(key, _KEY),
            algorithms=(algorithms, either(TEXT, TEXTS)),
            audience=(audience, optional(either(TEXT, TEXTS))),
            issuer=(issuer, optional(either(TEXT, TEXTS))),
            leeway=(leeway, number(0)),
            token=(token, FUNCTION),
        )
        kinds = {algorithm.startswith("HS") for algorithm in algorithms}
        if isinstance(algorithms, str) or len(kinds) != 1 or any(name.lower() == "none" for name in algorithms):
            raise ConfigurationError(
                f"JWTClaim needs algorithms=, a list of those it shall accept, such as ['RS256'], not {algorithms!r}: "
                "'none' verifies nothing, and with HMAC beside a public key the public key would sign."
            )
        self._claim = claim
        self._token = token
        self._key = key
        self._options: dict[str, Any] = {
            "algorithms": list(algorithms),
            "audience": audience,
            "issuer": issuer,
            "leeway": leeway,
            "options": {"require": [claim, "exp"]},
        }

    def __call__(self, request: RequestView) -> ByKey | None:
        """Verify the token and return its claim as a key."""
        token = self._token(request)
        if token is None:
            return None
        try:
            claims = jwt.decode(token, self._key, **self._options)  # pyright: ignore[reportUnknownMemberType] - cryptography
        except jwt.InvalidTokenError:
            return _UNKNOWN
        value = claims[self._claim]
        return ByKey(value) if isinstance(value, str) else _UNKNOWN
