"""A resolver by a claim of a JSON Web Token, which PyJWT verifies (extra ``tenantkit[jwt]``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jwt
from jwt.algorithms import requires_cryptography

from tenantkit.arguments import FUNCTION, NAME, NAMES, Kind, either, number, optional, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.resolvers.target import ByKey, Refusal

if TYPE_CHECKING:
    from tenantkit.resolvers.request import RequestView

__all__ = ["JWTClaim", "bearer_token"]

logger = logging.getLogger(__name__)

_UNKNOWN = ByKey("")
_KEY = Kind(
    "a key, not an empty one", bool, advice=lambda _name, _value: "Is the setting set that holds it?", is_secret=True
)
_INVALID = Refusal(401, "Invalid token", challenge='Bearer error="invalid_token"')
_NO_KEYS = Refusal(503, "Tokens cannot be verified for a moment", retry_after=5)


def bearer_token(request: RequestView) -> str | None:
    """Return the token of an ``Authorization: Bearer …`` header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class JWTClaim:
    """A resolver that takes a claim of a verified token as the key.

    ::

        JWTClaim("tenant", key=PUBLIC_KEY, algorithms=["RS256"], audience="api", issuer="https://login.example.com")
        JWTClaim("tenant", key=PyJWKClient("https://login.example.com/keys.json"), algorithms=["RS256"])

    Signature and times are always verified. A token that is expired, forged,
    malformed or without the claim is refused with 401, also in `first_of`;
    only a request without any token is passed on to the next resolver. The
    reason is logged as a debug message.
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
        :param key: the secret or public key, in whatever form PyJWT takes, or a `jwt.PyJWKClient`.
        :param algorithms: the accepted algorithms, of one kind: HMAC or public-key.
        :param leeway: the maximum difference of clocks, in seconds.
        :param token: a function that returns the token, for example ``lambda request: request.cookies.get("token")``.
        :raises TypeError: if an argument has the wrong type.
        :raises ConfigurationError: if no algorithm is named, ``none`` is among them, the kinds are mixed, PyJWT does
            not know one or needs the package cryptography for it, or *key* is no key for them.
        """
        require(
            claim=(claim, NAME),
            key=(key, _KEY),
            algorithms=(algorithms, either(NAME, NAMES)),
            audience=(audience, optional(either(NAME, NAMES))),
            issuer=(issuer, optional(either(NAME, NAMES))),
            leeway=(leeway, number(0)),
            token=(token, FUNCTION),
        )
        kinds = {algorithm.startswith("HS") for algorithm in algorithms}
        if isinstance(algorithms, str) or len(kinds) != 1 or any(name.lower() == "none" for name in algorithms):
            raise ConfigurationError(
                f"JWTClaim needs algorithms=, a list of those it shall accept, such as ['RS256'], not {algorithms!r}: "
                "'none' verifies nothing, and with HMAC beside a public key the public key would sign."
            )
        for algorithm in algorithms:
            _check_key(algorithm, key)
        self.blocking = isinstance(key, jwt.PyJWKClient)
        """Whether the verification of a token may fetch keys; then the ASGI middleware runs it in a thread."""
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

    def __call__(self, request: RequestView) -> ByKey | Refusal | None:
        """Verify the token and return its claim as a key."""
        token = self._token(request)
        if token is None:
            return None
        try:
            key = self._key.get_signing_key_from_jwt(token) if self.blocking else self._key
            claims = jwt.decode(token, key, **self._options)  # pyright: ignore[reportUnknownMemberType] - cryptography
        except (jwt.PyJWKClientConnectionError, jwt.PyJWKSetError) as error:
            logger.warning("A token cannot be verified: %s", error)
            return _NO_KEYS
        except jwt.PyJWTError as error:
            logger.debug("A token is refused: %s", error)
            return _INVALID
        value = claims[self._claim]
        return ByKey(value) if isinstance(value, str) else _UNKNOWN


def _check_key(algorithm: str, key: Any) -> None:
    """Check that PyJWT verifies *algorithm* with *key*, as far as possible without a token.

    :raises ConfigurationError: if not.
    """
    try:
        method = jwt.get_algorithm_by_name(algorithm)
    except NotImplementedError as error:
        reason = "PyJWT knows no such algorithm."
        if algorithm in requires_cryptography:
            reason = "PyJWT needs the package cryptography for it: pip install 'pyjwt[crypto]'."
        raise ConfigurationError(f"JWTClaim cannot verify {algorithm}. {reason}") from error
    if isinstance(key, jwt.PyJWKClient):
        return
    if isinstance(key, jwt.PyJWK):
        if key.algorithm_name != algorithm:
            raise ConfigurationError(f"The key of JWTClaim is for {key.algorithm_name}, not for {algorithm}.")
        return
    try:
        method.prepare_key(key)
    except (jwt.PyJWTError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"The key of JWTClaim is no key for {algorithm}: {error}") from error
