"""The rules for tenant keys, domains and schema names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from uuid import uuid4

from tenantkit.arguments import NAME, NAMES, STORABLE, TEXT, TEXTS, TEXTS_IN_ORDER, Kind, plain, require
from tenantkit.exceptions import ConfigurationError, InvalidDomainError, InvalidTenantKeyError

MAX_KEY_BYTES = 48
MAX_NUMBER_BYTES = len("~9999")
MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names silently (NAMEDATALEN - 1), at bytes, not characters."""

RESERVED_KEYS = frozenset({"information_schema", "public", "tenantkit"})


def _is_identifier(name: str) -> bool:
    return NAME.has_value(name) and STORABLE.has_value(name) and len(name.encode()) <= MAX_IDENTIFIER_BYTES


_IDENTIFIERS = f"names that are not blank, of at most {MAX_IDENTIFIER_BYTES} bytes each and without NUL"

IDENTIFIER = Kind(
    f"a name that is not blank, of at most {MAX_IDENTIFIER_BYTES} bytes and without NUL", TEXT.has_type, _is_identifier
)
IDENTIFIERS = Kind(
    f"a collection of {_IDENTIFIERS}", TEXTS.has_type, lambda each: all(map(_is_identifier, each)), TEXTS.advice
)
SCHEMAS = Kind(
    f"a list or tuple of schemas' {_IDENTIFIERS}",
    TEXTS_IN_ORDER.has_type,
    lambda each: all(_is_identifier(name) and "," not in name for name in each),
    TEXTS_IN_ORDER.advice,
)

_ID_PREFIX = "c-"
"""The prefix that an error proposes for the id of another system, such as a number or a UUID."""

_KEY = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
)


def validate_key(key: str, *, reserved: Collection[str] = (), prefix: str = "") -> str:
    """Return *key* if it is a valid tenant key, for a new tenant also behind the *prefix* of its schema.

    Valid keys have 1 to 48 bytes (fewer behind a prefix of more than 10) of lower-case ASCII letters, digits, ``-``
    and ``_``, start with a letter, do not start with ``pg_`` and are neither in
    `RESERVED_KEYS` nor in *reserved*. Nothing is folded or trimmed: a key that
    needs it is refused.

    :raises InvalidTenantKeyError: if it is not.
    """
    if not TEXT.has_type(key):
        raise InvalidTenantKeyError(key, f"it is of the type {type(key).__qualname__}, not a string", _hint(key))
    key = plain(key)
    if not _KEY.fullmatch(key):
        raise InvalidTenantKeyError(key, _broken_rule(key), _hint(key))
    if len(key) > MAX_KEY_BYTES:
        raise InvalidTenantKeyError(key, f"it is longer than {MAX_KEY_BYTES} bytes")
    if len(key) > (limit := MAX_IDENTIFIER_BYTES - MAX_NUMBER_BYTES - len(prefix)):
        raise InvalidTenantKeyError(key, f"it is longer than the {limit} bytes that schema_prefix={prefix!r} leaves")
    if key.startswith("pg_") or key in RESERVED_KEYS or key in reserved:
        raise InvalidTenantKeyError(key, "it is reserved")
    return key


SPARE_PREFIX = "~spare-"
"""The beginning of the keys of spares, which no tenant's key has."""
_SPARE = re.compile(rf"{SPARE_PREFIX}[0-9a-f]{{12}}")


def new_spare_key() -> str:
    """Return a key for a spare that no other one has or had."""
    return f"{SPARE_PREFIX}{uuid4().hex[:12]}"


def is_spare(key: str) -> bool:
    """Return whether this is the key of a spare."""
    return _SPARE.fullmatch(key) is not None


def _broken_rule(key: str) -> str:
    """Return the reason why a string is not a key."""
    others = sorted({each for each in key if not re.fullmatch(r"[a-z0-9_-]", each, re.ASCII)})
    if not key:
        return "it is empty"
    if any(each.isascii() and each.isupper() for each in others):
        return "it has upper-case letters"
    if others:
        return f"it has {', '.join(map(ascii, others))}"
    return f"it starts with {key[0]!r}"


def _hint(value: object) -> str | None:
    """Return a hint on the use of another system's id as a key, if *value* looks like one."""
    prefixed = f"{_ID_PREFIX}{value}"
    if value != "" and _KEY.fullmatch(prefixed) and len(prefixed) <= MAX_KEY_BYTES:
        return f"For the id of another system, put letters before it: {prefixed!r}."
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", value, re.ASCII):
        return None
    if value == value.lower():  # too long for letters before it
        return "Keep the ids of another system in the attributes, or hash them."
    return (
        "Never lower-case the ids of another system, as two may differ in case only: keep them in the attributes, "
        "or hash them."
    )


def validate_reserved(keys: Collection[str]) -> frozenset[str]:
    """Return *keys*, which no tenant may have.

    :raises ConfigurationError: if one has upper-case letters: it would reserve nothing, since no key has them.
    """
    require(reserved_keys=(keys, NAMES))
    for key in keys:
        if key != key.lower():
            raise ConfigurationError(
                f"reserved_keys names {key!r}, but keys have no upper-case letters. Write {key.lower()!r}."
            )
    return frozenset(keys)


def fold_domain(domain: str) -> str:
    """Return *domain* in the spelling that domains are stored in: lower case, without a trailing dot."""
    require(domain=(domain, TEXT))
    return domain.lower().removesuffix(".")


def validate_domain(domain: str) -> str:
    """Return *domain* as it is stored: lower case, without a trailing dot.

    Internationalized domains must be given in their ASCII form (``xn--…``).

    :raises InvalidDomainError: if it is no host name.
    """
    if not TEXT.has_type(domain):
        raise InvalidDomainError(domain)
    if not domain.isascii():
        raise InvalidDomainError(domain, "write internationalized names in their ASCII form (xn--...)")
    folded = fold_domain(domain)
    if not _DOMAIN.fullmatch(folded):
        raise InvalidDomainError(domain)
    return folded


def validate_own_domains(domains: Collection[str]) -> frozenset[str]:
    """Return the application's own *domains* as `require_free_domain` takes them; ``*.example.com`` for all below one.

    :raises ConfigurationError: if one is no host name.
    """
    try:
        return frozenset(
            "*." + validate_domain(domain[2:]) if domain.startswith("*.") else validate_domain(domain)
            for domain in domains
        )
    except InvalidDomainError as error:
        raise ConfigurationError(f"reserved_domains= holds {error.domain!r}, which is no domain.") from error


def require_free_domain(domain: str, reserved: Collection[str]) -> str:
    """Return *domain* as it is stored, unless it is one of the application's own.

    :raises InvalidDomainError: if it is no host name, is *reserved*, or is the ``www`` of a reserved one.
    """
    host = validate_domain(domain)
    labels = host.split(".")
    above = {"*." + ".".join(labels[number:]) for number in range(1, len(labels))}
    if {host, host.removeprefix("www.")} & set(reserved) or above & set(reserved):
        raise InvalidDomainError(domain, "it is one of the application's own (reserved_domains=)")
    return host


def validate_prefix(prefix: str) -> str:
    """Return *prefix* if it can begin a schema name, and leaves bytes for a key.

    :raises ConfigurationError: if not.
    """
    require(schema_prefix=(prefix, TEXT))
    longest = MAX_IDENTIFIER_BYTES - MAX_NUMBER_BYTES - 1
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*|", prefix, re.ASCII) or len(prefix) > longest or prefix.startswith("pg_"):
        raise ConfigurationError(
            f"schema_prefix={prefix!r} makes no schema names. Use up to {longest} lower-case letters, digits, "
            "'-' and '_', starting with a letter but not with 'pg_'."
        )
    return plain(prefix)


def schema_name(key: str, *, prefix: str = "t_", number: int = 1) -> str:
    """Return the schema name for a new tenant, the *number*-th one to have this key.

    Prefix and key are joined unchanged, so two keys never share a schema. Nor do two tenants that had one key after
    another: a job or a backup of the first must not reach the second. ``~`` is in no key, has no meaning
    to a shell in the middle of a word, and makes SQL with an unquoted name fail.
    """
    return prefix + key if number == 1 else f"{prefix}{key}~{number}"


def first_lines(names: Iterable[str], limit: int = 5) -> str:
    """Return *names* as a short list for a message."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:limit])
    return shown if len(ordered) <= limit else f"{shown} and {len(ordered) - limit} more"
