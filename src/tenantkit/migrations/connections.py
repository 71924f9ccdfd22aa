"""How many connections the server has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from tenantkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FREE = text(
    """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS free,
        current_setting('max_connections')::int AS all
    """
)
_BESIDES = 2
"""A run takes one connection for the ledger and one for rehearsals."""


def require_connections(connection: Connection, jobs: int | None) -> None:
    """Raise if a run with so many *jobs* would take connections that the application needs, or that are not there.

    :raises ConfigurationError: if so.
    """
    row = connection.execute(_FREE).one()
    if jobs is not None and jobs + _BESIDES > row.free:
        raise ConfigurationError(
            f"{jobs} jobs need {jobs + _BESIDES} connections, but of the server's {row.all} only {row.free} are free. "
            f"Use at most {max(row.free - _BESIDES, 1)} jobs, or raise max_connections."
        )
