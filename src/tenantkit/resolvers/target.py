"""The answers of resolvers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tenantkit.tenant import Tenant


@dataclass(frozen=True, slots=True)
class ByKey:
    """The tenant with this key; *prefix* is the part of the path that named it, which the application does not see."""

    key: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ByDomain:
    """The tenant that has this domain in the registry."""

    domain: str


Target: TypeAlias = ByKey | ByDomain


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to a request that is not served: 404, 503 with Retry-After, or 401 with WWW-Authenticate."""

    status: int
    detail: str
    retry_after: int | None = None
    """The value of Retry-After, in seconds."""
    tenant: Tenant | None = None
    """The tenant that is unavailable."""
    challenge: str | None = None
    """The value of WWW-Authenticate."""
    until: datetime | None = None
    """The announced end of the tenant's suspension or maintenance, if it is in the future."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response. It is not cached: a tenant may exist a moment later."""
        headers = {"cache-control": "no-store"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.challenge is not None:
            headers["www-authenticate"] = self.challenge
        return headers

    def body(self, accept: str) -> tuple[str, bytes]:
        """Return content type and content: a page or text where the ``Accept`` header names it, else JSON."""
        end = None if self.until is None else self.until.astimezone(UTC)
        if "text/html" in accept:
            time = "" if end is None else _TIME.format(iso=end.isoformat(timespec="seconds"), end=_short(end))
            page = _PAGE.format(status=self.status, detail=escape(self.detail), time=time)
            return "text/html; charset=utf-8", page.encode()
        if "text/" in accept:
            lines = (self.detail, *(() if end is None else (_short(end),)))
            return "text/plain; charset=utf-8", "".join(f"{each}\n" for each in lines).encode()
        until = {} if end is None else {"until": end.isoformat(timespec="seconds")}
        return "application/json", json.dumps({"detail": self.detail, **until}).encode()


def _short(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{status} {detail}</title>
</head>
<body>
<h1>{detail}</h1>
{time}</body>
</html>
"""
_TIME = '<p><time datetime="{iso}">{end}</time></p>\n'
