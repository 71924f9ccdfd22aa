"""Advice on a failed revision, by SQLSTATE. PostgreSQL's messages may be in any language."""

from __future__ import annotations

import re

_EXISTS = (
    "It exists already, which the revision does not expect: it or one before it creates it twice; an earlier "
    "attempt created it outside of the transaction (autocommit_block), so make that step repeatable; or these "
    "tenants were changed by other means."
)
_MISSING = (
    "It does not exist, which the revision does not expect: a name is wrong; it was dropped before, by another "
    "revision or by an earlier attempt outside of the transaction (autocommit_block); or these tenants were changed by "
    "other means. In text, write names of tenants' tables without a schema."
)

_HINTS = {
    "08": "The connection was lost. Run the same command again.",
    "0A000": (
        "PostgreSQL does not support this. Where a view, rule, policy, trigger or generated column uses the column, "
        "drop that in the revision first and create it again afterwards."
    ),
    "22": "A value is not valid: one of the tenants' rows, or one in the revision. Correct that value.",
    "23": (
        "Rows violate a constraint: the tenants' own, or those that the revision writes. Correct the rows, or let the "
        "revision do so first."
    ),
    "25001": (
        "The statement cannot run in a transaction. Put it into 'with op.get_context().autocommit_block():', in a "
        "revision of its own."
    ),
    "25P02": (
        "A statement failed before, and the revision caught its error: PostgreSQL refuses all later statements of the "
        "transaction. Run statements that may fail in 'with op.get_bind().begin_nested():'."
    ),
    "2BP01": "Other objects depend on the object that the revision drops. Let it drop them first, or change them.",
    "3F000": (
        "A revision names a schema that does not exist. No text is translated: in op.execute() and sa.text(), write "
        "names of the tenant's objects without a schema, not with the placeholder. A shared revision creates other "
        "schemas."
    ),
    "40001": "Another transaction changed the same rows at the same time. Run the same command again.",
    "40P01": (
        "Another transaction and the revision waited for each other's locks. Run the same command again; if it "
        "fails so again, let the revision change fewer tables at once."
    ),
    "42501": (
        "The database user may not do this. Grant it, or run as the owner of the schemas. If no tenant is set, the "
        "revision reads rows of common tables by text: write the step as one UPDATE, DELETE or INSERT … SELECT."
    ),
    "42601": "The revision sends SQL with a syntax error. Correct the revision.",
    "42701": _EXISTS,
    "42703": _MISSING,
    "42704": _MISSING,
    "42710": _EXISTS,
    "42804": (
        "PostgreSQL does not convert one type to the other itself. In a query, write a cast. For a column, pass "
        "postgresql_using= to op.alter_column(), and drop its default before, which no USING converts. For a foreign "
        "key, give both columns the same type."
    ),
    "42883": (
        "There is no such function or operator for these types on the search_path. Add the schema of its extension to "
        "extra_schemas of the Tenancy, or correct the revision."
    ),
    "42P01": _MISSING,
    "42P06": _EXISTS,
    "42P07": _EXISTS,
    "42723": _EXISTS,
    "53100": "The server's disk is full.",
    "53200": "The server has too little memory. Use fewer jobs, or raise max_locks_per_transaction if it says so.",
    "53300": "The server has no connection left. Use fewer jobs, or raise max_connections.",
    "55006": (
        "The object is in use. After changes to rows with deferred constraints, execute SET CONSTRAINTS ALL IMMEDIATE "
        "in the revision first, or change the table in a revision that commits separately."
    ),
    "55P03": (
        "A session holds a lock for longer than lock_timeout; pg_stat_activity shows it. Try again, or wait longer."
    ),
    "55P04": (
        "A new value of an ENUM cannot be used in the transaction that adds it. Add it in "
        "'with op.get_context().autocommit_block():', in a revision of its own, before the one that uses it."
    ),
    "57014": "It took longer than statement_timeout, or was cancelled. Raise the timeout, or make the step shorter.",
    "57P": "The server was stopped, or ended the connection. Run the same command again.",
}
"""Advice by SQLSTATE or its class (PostgreSQL, appendix A)."""

_TABLE_WITH_SCHEMA = re.compile(r'"[^".]+\.[^"]+"')
_MISSING_IN_SCHEMA = (
    "There is no such table, or no such schema. No text is translated: in op.execute() and sa.text(), write names of "
    "the tenant's tables without a schema, not with the placeholder."
)


def hint_for(state: str | None, error: str) -> str | None:
    """Return advice on a failure, if its SQLSTATE has one."""
    if state is None:
        return None
    if state == "42P01" and _TABLE_WITH_SCHEMA.search(error):  # PostgreSQL does not say which of them is missing
        return _MISSING_IN_SCHEMA
    return next((_HINTS[state[:length]] for length in (5, 3, 2) if state[:length] in _HINTS), None)
