"""The row security of common tables: one policy for each, and one trigger.

The policy raises if the transaction has no tenant. The trigger refuses new rows of a tenant that was removed. A policy
cannot do so: the removal must wait for transactions that have inserted rows, which it does not see.
"""

from __future__ import annotations

from tenantkit.isolation.tenant_column import SETTING, TenantColumn
from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.status import Status

POLICY = "tenantkit"
"""The name of the one policy of each common table, and of its trigger."""

NO_TENANT = "no tenant is set for this transaction"
"""The message of the error of a statement without a tenant."""

_NO_TENANT_FUNCTION = f"""
CREATE FUNCTION {{schema}}.no_tenant() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1 AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = '{NO_TENANT}',
        HINT = 'Use a session of tenancy.session(), or set tenantkit.tenant for the transaction.';
END $$
"""
"""The cost is low since it is never executed where there is a tenant: PostgreSQL's default of 100 would count it for
each row, and lead to plans that avoid reading rows in sequence."""

_REQUIRE_TENANT_FUNCTION = """
CREATE FUNCTION {schema}.require_tenant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM tenantkit.tenants WHERE coalesce(row_value, id::pg_catalog.text) OPERATOR(pg_catalog.=)
        pg_catalog.current_setting('{setting}') AND status OPERATOR(pg_catalog.<>) '{dropping}' FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the tenant of this transaction was removed',
            HINT = 'Look the tenant up again, and make a new session.';
    END IF;
    RETURN NULL;
END $$
"""
"""The lock is that of a foreign key, which would be checked for each row: removals wait for it, and are waited for.
All names are qualified, as the function has its owner's privileges: a path of its own would cost 10 µs a call."""


def security_functions(schema: str) -> list[str]:
    """Return the statements that make what the policies and triggers of *schema* call."""
    names = {"schema": quote_identifier(schema), "setting": SETTING, "dropping": Status.DROPPING}
    return [each.format(**names) for each in (_NO_TENANT_FUNCTION, _REQUIRE_TENANT_FUNCTION)]


def condition(schema: str, tenant: TenantColumn) -> str:
    """Return the condition of the policy of a table in *schema*.

    The setting is read directly, not by a subquery: PostgreSQL evaluates the expression for its estimates,
    and uses it as the condition of an index.
    """
    value = f"coalesce({tenant.setting}, {quote_identifier(schema)}.no_tenant())"
    return f"{tenant.sql_name} = {value}::{tenant.type}"


def security_statements(schema: str, table: str, tenant: TenantColumn) -> list[str]:
    """Return the statements that put a new table of *schema* under the policy and the trigger, its owner too.

    The trigger leaves alone a transaction without a tenant, which the policy refuses, and the value that no tenant has.
    """
    name, allowed = f"{quote_identifier(schema)}.{quote_identifier(table)}", condition(schema, tenant)
    has_tenant = f"{tenant.setting} <> {quote_literal(tenant.no_tenant)}"
    function = f"{quote_identifier(schema)}.require_tenant()"
    return [
        f"CREATE POLICY {POLICY} ON {name} USING ({allowed}) WITH CHECK ({allowed})",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE TRIGGER {POLICY} BEFORE INSERT ON {name} WHEN ({has_tenant}) EXECUTE FUNCTION {function}",
    ]
