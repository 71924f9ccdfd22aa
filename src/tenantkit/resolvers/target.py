"""What resolvers answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ByKey:
    """The tenant with this key; *prefix* is the part of the path that named it, and is not the application's."""

    key: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ByDomain:
    """The tenant that the registry knows by this domain."""

    domain: str


Target: TypeAlias = ByKey | ByDomain
