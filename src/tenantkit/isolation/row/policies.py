"""The row security of common tables: one policy for each, which raises if the transaction has no tenant."""

from __future__ import annotations

from tenantkit.isolation.tenant_column import TenantColumn
from tenantkit.postgres.quoting import quote_identifier

POLICY = "tenantkit"
"""The name of the one policy of each common table."""

NO_TENANT = "no tenant is set for this transaction"
"""The message of the error of a statement without a tenant."""

_FUNCTION = f"""
CREATE FUNCTION {{schema}}.no_tenant() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1 AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = '{NO_TENANT}',
        HINT = 'Use a session of tenancy.session(), or set tenantkit.tenant for the transaction.';
END $$
"""
"""The cost is low since it is never executed where there is a tenant: PostgreSQL's default of 100 would count it for
each row, and lead to plans that avoid reading rows in sequence."""


def no_tenant_function(schema: str) -> str:
    """Return the statement that makes the function that raises without a tenant."""
    return _FUNCTION.format(schema=quote_identifier(schema))


def condition(schema: str, tenant: TenantColumn) -> str:
    """Return the condition of the policy of a table in *schema*.

    The setting is read directly, not by a subquery: PostgreSQL evaluates the expression for its estimates,
    and uses it as the condition of an index.
    """
    value = f"coalesce({tenant.setting}, {quote_identifier(schema)}.no_tenant())"
    return f"{tenant.sql_name} = {value}::{tenant.type}"


def policy_statements(schema: str, table: str, tenant: TenantColumn) -> list[str]:
    """Return the statements that put a new table of *schema* under the policy, its owner too."""
    name, allowed = f"{quote_identifier(schema)}.{quote_identifier(table)}", condition(schema, tenant)
    return [
        f"CREATE POLICY {POLICY} ON {name} USING ({allowed}) WITH CHECK ({allowed})",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
    ]
