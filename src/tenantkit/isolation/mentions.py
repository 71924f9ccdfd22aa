"""Texts in a database that name a schema, in which a rename of the schema would not change the name.

PostgreSQL keeps references to objects by number, and these follow a rename. Names in the bodies of functions, in
arguments of triggers, in constants and in settings are texts. A name that is put together at run time is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from tenantkit.postgres.quoting import search_path


@dataclass(frozen=True, slots=True)
class Mention:
    """A text that names a schema."""

    what: str
    """A description of the text and its object."""
    obstructs: bool
    """Whether something would fail after a rename; a comment, or a setting of a role, is only outdated."""


# With the path of the schema, PostgreSQL writes references to its objects without its name: only texts keep it. So
# expressions are read in this schema, and in those that no tenant has; texts, which cost little, in the whole database.
_FIND = text(
    """
    WITH known AS (
        SELECT oid, nspname !~ '^pg_' AND nspname <> 'information_schema' AS is_users,
            nspname = :schema OR coalesce(obj_description(oid, 'pg_namespace'), '') !~ '^tenantkit tenant ' AS is_read
        FROM pg_namespace
    ), routine AS (
        SELECT pg_proc.*, is_read
        FROM pg_proc JOIN known ON known.oid = pronamespace JOIN pg_language ON pg_language.oid = prolang
        WHERE is_users AND lanname NOT IN ('c', 'internal')
    ), relation AS (
        SELECT pg_class.* FROM pg_class JOIN known ON known.oid = relnamespace WHERE is_users AND is_read
    ), found AS (
        SELECT 'the body of ' || oid::regprocedure AS what, prosrc AS text, true AS obstructs FROM routine
        UNION ALL
        SELECT 'a setting of ' || oid::regprocedure, setting, true
        FROM routine, unnest(proconfig) AS setting WHERE setting !~ '^search_path='
        UNION ALL
        SELECT 'a constant in ' || oid::regprocedure, pg_get_expr(proargdefaults, 0), true FROM routine WHERE is_read
        UNION ALL
        SELECT 'a constant in ' || oid::regprocedure, pg_get_function_sqlbody(oid), true
        FROM routine WHERE is_read AND prosqlbody IS NOT NULL
        UNION ALL
        SELECT format('the trigger %I on %s', tgname, tgrelid::regclass), pg_get_triggerdef(pg_trigger.oid, true), true
        FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
        UNION ALL
        SELECT format('the default of %s.%I', adrelid::regclass, attname), pg_get_expr(adbin, adrelid), true
        FROM pg_attrdef JOIN relation ON relation.oid = adrelid
        JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        UNION ALL
        SELECT format('the constraint %I', conname), pg_get_constraintdef(pg_constraint.oid, true), true
        FROM pg_constraint JOIN known ON known.oid = connamespace WHERE contype = 'c' AND is_users AND is_read
        UNION ALL
        SELECT format('the index %s', indexrelid::regclass),
            concat_ws(' ', pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid)), true
        FROM pg_index JOIN relation ON relation.oid = indrelid WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
        UNION ALL
        SELECT format('the policy %I on %s', polname, polrelid::regclass),
            concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)), true
        FROM pg_policy JOIN relation ON relation.oid = polrelid
        UNION ALL
        SELECT format('the view %s', oid::regclass), pg_get_viewdef(oid, true), true
        FROM relation WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT format('the rule %I on %s', rulename, ev_class::regclass), pg_get_ruledef(pg_rewrite.oid, true), true
        FROM pg_rewrite JOIN relation ON relation.oid = ev_class WHERE rulename <> '_RETURN'
        UNION ALL
        SELECT format('the default of the domain %s', pg_type.oid::regtype), pg_get_expr(typdefaultbin, 0), true
        FROM pg_type JOIN known ON known.oid = typnamespace WHERE typtype = 'd' AND is_users AND is_read
        UNION ALL
        SELECT format('the options of the foreign table %s', ftrelid::regclass), array_to_string(ftoptions, ' '), true
        FROM pg_foreign_table
        UNION ALL
        SELECT format('the comment on %s', pg_describe_object(classoid, objoid, objsubid)), description, false
        FROM pg_description WHERE objoid >= 16384
        UNION ALL
        SELECT format('the setting %s of %s', split_part(setting, '=', 1), concat_ws(
            ' in ', 'the role ' || nullif(setrole, 0)::regrole, 'the database ' || datname
        )), setting, false
        FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS setting
        WHERE setdatabase = 0 OR datname = current_database()
    )
    SELECT what, text, obstructs FROM found WHERE strpos(replace(lower(text), '""', '"'), lower(:schema)) > 0
    ORDER BY obstructs DESC, what
    """
)
_LONGER = text("SELECT nspname FROM pg_namespace WHERE strpos(nspname, :schema) > 0 AND nspname <> :schema")


def find_mentions(connection: Connection, schema: str) -> list[Mention]:
    """Return the texts in the database of *connection* that name *schema*, those that obstruct a rename first.

    It sends some settings and queries, in the caller's transaction.
    """
    before = _set_path(connection, search_path(schema))
    try:
        rows = connection.execute(_FIND, {"schema": schema}).all()
    finally:
        _set_path(connection, before)
    longer = connection.execute(_LONGER, {"schema": schema}).scalars().all() if rows else ()
    return [Mention(row.what, row.obstructs) for row in rows if names_schema(row.text, schema, longer)]


def names_schema(words: str, schema: str, others: Iterable[str] = ()) -> bool:
    """Return whether *words* have the name *schema* as a whole word, in any case.

    :param others: names that contain *schema*, such as ``t_acme-2``, and do not count.
    """
    words = words.replace('""', '"')
    for other in sorted(others, key=len, reverse=True):
        words = words.replace(other, " ")
    return re.search(rf"(?<![\w$]){re.escape(schema)}(?![\w$])", words, re.IGNORECASE) is not None


def _set_path(connection: Connection, path: str) -> str:
    """Set the path for the rest of the transaction, and return what it was."""
    before = connection.execute(select(func.current_setting("search_path"))).scalar_one()
    connection.execute(select(func.set_config("search_path", path, True)))  # noqa: FBT003
    return str(before)
