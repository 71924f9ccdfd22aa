"""State that statements, functions, procedures and triggers leave on a connection, and queries that find it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, text

LEFTOVERS: dict[str, Any] = {
    "temporary table": "CREATE TEMP TABLE leftover AS SELECT 'secret' AS name",
    "temporary table by select": "SELECT 'secret' AS name INTO TEMPORARY leftover",
    "temporary view": "CREATE OR REPLACE TEMP VIEW leftover AS SELECT 'secret' AS name",
    "temporary table behind a comment": "CREATE /* really */ TEMP TABLE leftover AS SELECT 'secret' AS name",
    "temporary schema": "CREATE TABLE pg_temp.leftover AS SELECT 'secret' AS name",
    "search_path": "SET search_path TO t_acme",
    "setting": "/* first */ SET statement_timeout = '1h'",
    "short timeout": "SET statement_timeout = '20ms'",
    "custom setting": "SET app.who = 'acme'",
    "set_config": "SELECT set_config('statement_timeout', '1h', false)",
    "setting in a block": "DO $$ BEGIN SET statement_timeout = '1h'; END $$",
    "setting by a function": select(func.set_config("statement_timeout", "1h", False)),
    "lock by a function": select(func.pg_advisory_lock(4711)),
    "shared lock": "SELECT pg_advisory_lock_shared(4711)",
    "role": "SET ROLE pg_monitor",
    "session user": "SET SESSION AUTHORIZATION pg_monitor",
    "lock": "SELECT pg_advisory_lock(4711)",
    "cursor": "DECLARE leftover CURSOR WITH HOLD FOR SELECT 'secret' AS name",
    "prepared statement": "PREPARE leftover AS SELECT 'secret' AS name",
    "prepared statement in a block": "DO $$ BEGIN EXECUTE 'PREPARE leftover AS SELECT 1'; END $$",
    "listening": "LISTEN leftover",
    "value of a sequence": "SELECT nextval('project_id_seq')",
    "read only": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
}
"""Statements of the caller."""

BODIES = {
    "temporary table": "CREATE TEMP TABLE leftover AS SELECT 'secret' AS name",
    "setting": "SET statement_timeout = '1h'",
    "custom setting": "PERFORM set_config('app.who', 'acme', false)",
    "lock": "PERFORM pg_advisory_lock(4711)",
    "cursor": "EXECUTE 'DECLARE leftover CURSOR WITH HOLD FOR SELECT 1'",
    "listening": "LISTEN leftover",
    "role": "SET ROLE pg_monitor",
}
"""Bodies of a function, a procedure or a trigger."""

LEFT = text(
    """
    SELECT to_regclass('pg_temp.leftover') IS NOT NULL, current_setting('search_path') LIKE '%acme%',
        current_setting('statement_timeout') <> '0', current_user = 'pg_monitor',
        coalesce(current_setting('app.who', true), '') <> '',
        EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        EXISTS (SELECT FROM pg_cursors WHERE name = 'leftover'),
        EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'leftover'),
        EXISTS (SELECT FROM pg_listening_channels()),
        current_setting('transaction_read_only') = 'on'
    """
)
NOTHING = (False,) * 10
LAST_VALUE = text("SELECT lastval()")
"""Fails if the session has used no sequence."""
