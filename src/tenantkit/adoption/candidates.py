"""The schemas to adopt: which, and the keys that their names give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, text

from tenantkit.exceptions import ConfigurationError, InvalidTenantKeyError
from tenantkit.naming import validate_key

ANY = "%"
"""The character of a pattern that matches any text."""
_ALL = text(
    """
    SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname
    """
)


def find_schemas(connection: Connection, pattern: str, without: Collection[str]) -> list[str]:
    """Return the names of schemas that match *pattern*, in which only ``%`` has a meaning."""
    wanted = _regex(pattern)
    return [name for name in connection.execute(_ALL).scalars() if wanted.fullmatch(name) and name not in without]


def read_keys(names: Collection[str], pattern: str, key_from: str | None) -> Mapping[str, str | None]:
    """Return the key that each of *names* gives: the group ``key``, the first group, or the match of *key_from*.

    Without *key_from*, it is the text that ``%`` stands for.

    :raises ConfigurationError: if *pattern* has not one ``%``, and there is no *key_from*.
    """
    if key_from is None and pattern.count(ANY) != 1:
        raise ConfigurationError(
            f"schemas={pattern!r} does not say what part of a name is the key: write one {ANY!r}, or give key_from=, a "
            "regular expression."
        )
    regex = _regex(pattern) if key_from is None else re.compile(key_from)
    return {name: _key(regex.search(name)) for name in names}


def find_obstacles(
    keys: Mapping[str, str | None], taken: Collection[str], reserved: Collection[str], prefix: str
) -> Mapping[str, list[str]]:
    """Return the reasons why the key of each schema cannot be a tenant's."""
    counts = Counter(keys.values())
    found: dict[str, list[str]] = {name: [] for name in keys}
    for name, key in keys.items():
        problems = found[name]
        if key is None:
            problems.append("key_from= finds no key in its name")
            continue
        try:
            validate_key(key, reserved=reserved, prefix=prefix)
        except InvalidTenantKeyError as error:
            problems.append(f"{error} Give key_from=")
        if counts[key] > 1:
            others = sorted(other for other, same in keys.items() if same == key and other != name)
            problems.append(f"{', '.join(others)} gives the same key {key!r}")
        if key in taken:
            problems.append(f"the key {key!r} is another tenant's")
    return found


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, pattern.split(ANY))), re.DOTALL)


def _key(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    if "key" in match.re.groupindex:
        return match["key"]
    return match[1] if match.re.groups else match[0]
