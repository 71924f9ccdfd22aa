"""A server that is too old is refused on the first connection, before anything else is sent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import ConfigurationError

# A new server that reports an old version: this database looks functions up in public first.
_PRETEND = """
    CREATE FUNCTION public.current_setting(name text) RETURNS text LANGUAGE sql AS
        $$ SELECT CASE name WHEN 'server_version_num' THEN '130014' ELSE pg_catalog.current_setting(name) END $$;
    DO $$ BEGIN
        EXECUTE 'ALTER DATABASE ' || current_database() || ' SET search_path = public, pg_catalog';
    END $$
"""
_REFUSED = "The server is PostgreSQL 13; tenantkit needs 14 or newer. Upgrade the server."


@pytest.fixture
def old_database(engine: Engine, database: URL) -> URL:
    with engine.begin() as connection:
        connection.exec_driver_sql(_PRETEND)
    return database


def test_a_server_older_than_14_is_refused(old_database: URL, any_tenancy: Any) -> None:
    for _ in range(2):  # every connection that is made, not just the first
        with pytest.raises(ConfigurationError, match=_REFUSED):
            any_tenancy.list()
    with pytest.raises(ConfigurationError, match=_REFUSED):
        any_tenancy.create("acme")


@pytest.mark.all_cases
def test_the_command_line_reports_an_old_server_in_one_line(old_database: URL) -> None:
    url = old_database.render_as_string(hide_password=False)
    code = (
        "import sys; from tenantkit import Tenancy; from tenantkit.cli import main; from tests.support.models import APPLICATION\n"
        f"sys.modules['app'] = type(sys)('app'); sys.modules['app'].tenancy = Tenancy({url!r}, **APPLICATION)\n"
        "sys.argv = ['tenantkit', '-a', 'app:tenancy', 'list']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {_REFUSED}\n")
