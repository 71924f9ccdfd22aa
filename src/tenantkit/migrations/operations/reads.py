"""Detection of updates that read, in other rows, the columns that they set.

In batches, rows would see the new values of earlier batches, where a single UPDATE reads the old values of all.
Expressions may be text, and may use views and functions, so PostgreSQL's own parser is asked.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Update, event

from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.catalog.queries import own_query
from tenantkit.migrations.operations.targets import Target
from tenantkit.naming import first_lines

_FUNCTION = "pg_temp.tenantkit_reads()"

_READ = re.compile(
    r":relid (\d+)(?:(?!:relid).)*?:selectedCols \(b([\d ]*)\)(?:(?!:relid).)*?:updatedCols \(b([\d ]*)\)", re.DOTALL
)
"""A relation of a query with the columns that are read and set, as PostgreSQL 14 to 18 write parse trees."""
_CALL = re.compile(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)")
_OFFSET = 7
"""The offset of column numbers in a parse tree (FirstLowInvalidHeapAttributeNumber)."""
_FIRST_OWN = 16384
"""The first OID of an object that does not come with PostgreSQL (FirstNormalObjectId)."""

# The table, what it inherits from and what inherits from it have rows in common.
_FAMILY = own_query(
    """
    WITH RECURSIVE above AS (
        SELECT CAST(:oid AS oid) AS oid UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid
    ), part AS (
        SELECT oid FROM above UNION SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
    )
    SELECT attrelid, attnum, attname FROM part JOIN pg_attribute ON attrelid = part.oid WHERE attnum > 0
    """
)
_BODY = own_query("SELECT prosqlbody::text FROM pg_proc WHERE oid = CAST(:function AS regprocedure)")
_VIEWS = own_query("SELECT ev_action::text FROM pg_rewrite WHERE ev_type = '1' AND ev_class = ANY (:oids)")
_FUNCTIONS = own_query(
    r"""
    SELECT proname FROM pg_proc WHERE oid = ANY (:oids) AND prokind <> 'a'
        AND pg_get_functiondef(oid) ~* ('\m' || :name || '\M')
        AND pg_get_functiondef(oid) ~* ('\m(' || :columns || ')\M')
    """
)
_IS_VOLATILE = own_query("SELECT bool_or(provolatile = 'v') FROM pg_proc WHERE oid = ANY (:oids)")


def require_own_reads(connection: Connection, target: Target, update: Update, columns: Iterable[str]) -> bool:
    """Raise if *update*, which sets *columns* of *target*, reads them in rows other than the one that it sets.

    Invalid SQL raises too, also for a table without rows. A transaction must have been begun. Return
    whether it calls no volatile function, so that its values can be computed in advance.

    :raises ConfigurationError: if it does.
    """
    with _as_function(connection):
        connection.execute(update)
    tree: str = connection.execute(_BODY, {"function": _FUNCTION}).scalar_one()
    connection.exec_driver_sql(f"DROP FUNCTION {_FUNCTION}")
    names = {(row.attrelid, row.attnum): row.attname for row in connection.execute(_FAMILY, {"oid": target.oid})}
    family = {oid for oid, _ in names}
    is_set = {*columns}
    seen: set[int] = set()
    trees = [tree]
    calls: set[int] = set()
    while trees:
        tree = trees.pop()
        views: set[int] = set()
        for relation, selected, updated in _READ.findall(tree):
            oid = int(relation)
            if oid not in family:
                views |= {oid} - seen
            elif not updated:
                numbers = {int(number) - _OFFSET for number in selected.split()}
                read = is_set if 0 in numbers else is_set & {names.get((oid, number), "") for number in numbers}
                if read:
                    raise _reads(target, read, "They read")
        seen |= views
        if views:
            trees += connection.execute(_VIEWS, {"oids": [*views]}).scalars()
        calls |= {int(oid) for oid in _CALL.findall(tree)}
    if own := [oid for oid in calls if oid >= _FIRST_OWN]:
        pattern = {"name": re.escape(target.name), "columns": "|".join(map(re.escape, is_set))}
        for name in connection.execute(_FUNCTIONS, {"oids": own, **pattern}).scalars():
            raise _reads(target, is_set, f"The function {name}(), which they call, may read")
    return not connection.execute(_IS_VOLATILE, {"oids": [*calls]}).scalar()


def _reads(target: Target, columns: Iterable[str], reader: str) -> ConfigurationError:
    return ConfigurationError(
        f"values= and where= must not depend on the columns that are set in other rows of {target.name}. {reader} "
        f"{first_lines(columns)} there, which changes from batch to batch. Set all rows at once, with "
        "op.execute(sa.update(...)); or put the new values into a table first."
    )


@contextmanager
def _as_function(connection: Connection) -> Generator[None]:
    """Create a function of the statement instead of executing it.

    A function's body cannot have the statement's parameters, so each is NULL; their types are in the statement.
    """

    def write(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> tuple[str, Any]:
        body = (statement % dict.fromkeys(parameters, "NULL")).replace("%", "%%")
        return f"CREATE FUNCTION {_FUNCTION} RETURNS void LANGUAGE sql BEGIN ATOMIC {body}\n; END", {}

    event.listen(connection, "before_cursor_execute", write, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", write)
