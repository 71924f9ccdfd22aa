"""The recorded scripts, by the hash of what determines them: functions of a connection to the registry."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

_KEPT = 20
"""Number of scripts that are kept, the newest ones."""

# The owner of the table runs its own functions and triggers in each creation, so it need not be kept from the script.
_READ = text(
    """
    WITH writers (owner, role) AS (
        SELECT relowner, grantee FROM pg_class CROSS JOIN aclexplode(relacl)
            WHERE pg_class.oid = 'tenantkit.scripts'::regclass AND privilege_type IN ('INSERT', 'UPDATE')
        UNION ALL
        SELECT relowner, grantee FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
            CROSS JOIN aclexplode(attacl)
            WHERE pg_class.oid = 'tenantkit.scripts'::regclass AND privilege_type IN ('INSERT', 'UPDATE')
        UNION ALL
        SELECT relowner, member FROM pg_class CROSS JOIN pg_auth_members
            WHERE pg_class.oid = 'tenantkit.scripts'::regclass AND roleid = to_regrole('pg_write_all_data')
    )
    SELECT state, script, schema, NOT EXISTS (
        SELECT FROM writers WHERE role = 0 OR NOT pg_has_role(role, owner, 'MEMBER')
    ) AS is_protected
    FROM tenantkit.scripts WHERE contents = :contents
    """
)
# Of two recordings in different schemas, the second one decides.
_WRITE = text(
    """
    INSERT INTO tenantkit.scripts AS known (contents, state, schema, script, reason)
    VALUES (:contents, :state, :schema, :script, :reason)
    ON CONFLICT (contents) DO UPDATE SET
        state = CASE WHEN excluded.state = 'recorded' AND known.script = excluded.script
            THEN 'confirmed' ELSE 'refused' END,
        reason = coalesce(excluded.reason, CASE WHEN known.script <> excluded.script THEN :differs END),
        recorded_at = now()
    WHERE known.state = 'recorded' AND (known.schema <> excluded.schema OR excluded.state = 'refused')
    """
)
_PRUNE = text(
    f"""
    DELETE FROM tenantkit.scripts WHERE contents IN (
        SELECT contents FROM tenantkit.scripts ORDER BY recorded_at DESC, contents OFFSET {_KEPT} FOR UPDATE SKIP LOCKED
    )
    """  # noqa: S608 - a number
)


class Recorded(NamedTuple):
    """A script of the registry."""

    state: str
    """``recorded`` once, ``confirmed`` by an equal recording in another schema, or ``refused``."""
    script: str
    schema: str
    """Where it was recorded first."""
    is_protected: bool
    """Whether only superusers and members of the owner of the table can change it."""


def read(connection: Connection, contents: str) -> Recorded | None:
    """Return the script of *contents*, if there is one."""
    row = connection.execute(_READ, {"contents": contents}).one_or_none()
    return None if row is None else Recorded(*row)


def write(connection: Connection, contents: str, schema: str, script: str, *, refusal: str | None = None) -> None:
    """Record that *script* created *schema*, or the reason of its *refusal*."""
    state = "recorded" if refusal is None else "refused"
    values = {"contents": contents, "state": state, "schema": schema, "script": script, "reason": refusal}
    connection.execute(_WRITE, {**values, "differs": "the revisions do not send the same statements each time"})
    connection.execute(_PRUNE)
