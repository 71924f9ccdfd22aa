"""Texts in a database that name a schema, in which a rename of the schema would not change the name.

PostgreSQL keeps references to objects by number, and these follow a rename. Names in the bodies of functions, in
arguments of triggers, in constants and in settings are texts. A name that is put together at run time is not found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tenantkit.postgres.quoting import quote_literal, search_path


@dataclass(frozen=True, slots=True)
class Mention:
    """A text that names a schema."""

    what: str
    """A description of the text and its object."""
    obstructs: bool
    """Whether something would fail after a rename; a comment, or a setting of a role, is only outdated."""


# With the path of the schema, PostgreSQL writes references to its objects without its name: only texts keep it. So
# expressions are read in this schema, and in those that no tenant has; texts, which cost little, in the whole database.
# CASE keeps the planner from writing the expressions of all other schemas first.
_FIND = """
    WITH known AS (
        SELECT pg_namespace.oid, nspname = :schema OR coalesce(description, '') !~ '^tenantkit tenant ' AS is_read
        FROM pg_namespace
        LEFT JOIN pg_description ON objoid = pg_namespace.oid AND classoid = 'pg_namespace'::regclass AND objsubid = 0
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), space AS (
        SELECT oid FROM known WHERE is_read
    ), relation AS (
        SELECT oid, relkind FROM pg_class WHERE relnamespace IN (SELECT oid FROM space)
    ), routine AS (
        SELECT pg_proc.* FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
        WHERE lanname NOT IN ('c', 'internal') AND pronamespace IN (SELECT oid FROM known)
    ), found AS (
        SELECT 'the body of ' || oid::regprocedure AS what, prosrc AS text, true AS obstructs FROM routine
        UNION ALL
        SELECT 'a setting of ' || oid::regprocedure, setting, true
        FROM routine, unnest(proconfig) AS setting
        WHERE (cardinality(proconfig) > 1 OR proconfig[1] !~ '^search_path=') AND setting !~ '^search_path='
        UNION ALL
        SELECT 'a constant in ' || oid::regprocedure, CASE WHEN pronamespace IN (SELECT oid FROM space)
            THEN concat_ws(' ', pg_get_expr(proargdefaults, 0), pg_get_function_sqlbody(oid)) END, true
        FROM routine WHERE proargdefaults IS NOT NULL OR prosqlbody IS NOT NULL
        UNION ALL
        SELECT format('the trigger %I on %s', tgname, tgrelid::regclass),
            CASE WHEN tgrelid IN (SELECT oid FROM relation) THEN pg_get_triggerdef(oid, true) END, true
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT format('the default of %s.%I', adrelid::regclass, attname),
            CASE WHEN adrelid IN (SELECT oid FROM relation) THEN pg_get_expr(adbin, adrelid) END, true
        FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        UNION ALL
        SELECT format('the constraint %I', conname),
            CASE WHEN connamespace IN (SELECT oid FROM space) THEN pg_get_constraintdef(oid, true) END, true
        FROM pg_constraint WHERE contype = 'c'
        UNION ALL
        SELECT format('the index %s', indexrelid::regclass),
            CASE WHEN indrelid IN (SELECT oid FROM relation)
            THEN concat_ws(' ', pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid)) END, true
        FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
        UNION ALL
        SELECT format('the policy %I on %s', polname, polrelid::regclass),
            CASE WHEN polrelid IN (SELECT oid FROM relation)
            THEN concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) END, true
        FROM pg_policy
        UNION ALL
        SELECT format('the view %s', oid::regclass), CASE WHEN relkind IN ('v', 'm')
            THEN pg_get_viewdef(oid, true) END, true
        FROM relation
        UNION ALL
        SELECT format('the rule %I on %s', rulename, ev_class::regclass),
            CASE WHEN ev_class IN (SELECT oid FROM relation) THEN pg_get_ruledef(oid, true) END, true
        FROM pg_rewrite WHERE rulename <> '_RETURN'
        UNION ALL
        SELECT format('the default of the domain %s', oid::regtype),
            CASE WHEN typnamespace IN (SELECT oid FROM space) THEN pg_get_expr(typdefaultbin, 0) END, true
        FROM pg_type WHERE typtype = 'd' AND typdefaultbin IS NOT NULL
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
_LONGER = text("SELECT nspname FROM pg_namespace WHERE strpos(nspname, :schema) > 0 AND nspname <> :schema")
_GET_PATH = "SELECT pg_catalog.current_setting('search_path')"
_SET_PATH = text("SELECT pg_catalog.set_config('search_path', :path, true)")
_NO_PATH = "pg_catalog, pg_temp"


def find_mentions(connection: Connection, schema: str, members: Collection[str] | None = None) -> list[Mention]:
    """Return the texts in the database of *connection* that name *schema*, those that obstruct a rename first.

    It sends some settings and queries, in the caller's transaction.

    :param members: names of objects; texts count only if they name one of them with the schema before it.
    """
    before = connection.exec_driver_sql(_GET_PATH).scalar_one()
    connection.execute(_SET_PATH, {"path": _NO_PATH})
    connection.exec_driver_sql("SET LOCAL jit = off")
    # Names in the query of a cursor are looked up here, where no function or operator of the tenant is found; only the
    # texts are written with the tenant's path.
    query = _FIND.replace(":schema", quote_literal(schema)).replace("%", "%%")
    connection.exec_driver_sql(f"DECLARE tenantkit_mentions NO SCROLL CURSOR FOR {query}")
    connection.execute(_SET_PATH, {"path": search_path(schema)})
    rows = connection.exec_driver_sql("FETCH ALL FROM tenantkit_mentions").all()
    connection.execute(_SET_PATH, {"path": _NO_PATH})
    connection.exec_driver_sql("CLOSE tenantkit_mentions")
    longer = connection.execute(_LONGER, {"schema": schema}).scalars().all() if rows else ()
    connection.execute(_SET_PATH, {"path": before})
    return [
        Mention(row.what, row.obstructs)
        for row in rows
        if (names_schema(row.text, schema, longer) if members is None else names_member(row.text, schema, members))
    ]


def names_schema(words: str, schema: str, others: Iterable[str] = ()) -> bool:
    """Return whether *words* have the name *schema* as a whole word, in any case.

    :param others: names that contain *schema*, such as ``t_acme-2``, and do not count.
    """
    words = words.replace('""', '"')
    for other in sorted(others, key=len, reverse=True):
        words = words.replace(other, " ")
    return re.search(rf"(?<![\w$]){re.escape(schema)}(?![\w$])", words, re.IGNORECASE) is not None


def names_member(words: str, schema: str, members: Collection[str]) -> bool:
    """Return whether *words* have one of *members* with the name *schema* before it, in any case."""
    found = re.findall(
        rf'(?<![\w$])"?{re.escape(schema)}"?\s*\.\s*("[^"]+"|[\w$]+)', words.replace('""', '"'), re.IGNORECASE
    )
    return not {each.strip('"').lower() for each in found}.isdisjoint(each.lower() for each in members)
