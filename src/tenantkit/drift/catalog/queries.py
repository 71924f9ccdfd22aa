"""The queries that read any number of schemas at once.

They omit objects of extensions, Alembic's version table, inherited properties of partitions and inheriting tables,
and properties that may rightly differ from tenant to tenant: storage (tablespaces, storage parameters, statistics),
owners and privileges.
"""

# ruff: noqa: S608 - nothing in these texts comes from outside

from __future__ import annotations

from sqlalchemy import TextClause, text

from tenantkit.drift.catalog import objects


def _relations(kinds: str) -> str:
    """Return the query for relations of some kinds; literal *kinds* let the planner estimate their frequency."""
    return f"""
        SELECT space.*, pg_class.oid, relname::text, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
            relispartition, relpartbound, relispopulated, relreplident, reloptions
        FROM pg_class JOIN space ON relnamespace = space
        WHERE relkind IN ({kinds}) AND relname <> 'alembic_version'
            AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid)
    """


# pg_get_viewdef executes queries that compare OIDs and names, and must not use an operator of a tenant.
_SPACES = f"""
    space AS MATERIALIZED (
        SELECT oid AS space, nspname::text AS schema,
            CASE WHEN EXISTS (
                SELECT FROM pg_operator WHERE oprnamespace = pg_namespace.oid
                    AND oprname = '=' AND oprleft IN ('oid'::regtype, 'name'::regtype)
            ) THEN format('pg_catalog, %I, pg_temp', nspname) ELSE format('%I, pg_catalog, pg_temp', nspname)
            END AS path
        FROM pg_namespace WHERE nspname = ANY(:schemas)
    ),
    extended AS MATERIALIZED (
        SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
    ),
    base AS MATERIALIZED ({_relations("'r', 'p'")}),
    viewed AS MATERIALIZED ({_relations("'v', 'm'")}),
    relation AS (SELECT * FROM base UNION ALL SELECT * FROM viewed)
"""

_SEQUENCES = """
    sequence AS MATERIALIZED (
        SELECT space, seqrelid, relname::text, relpersistence, format_type(seqtypid, NULL) AS type,
            format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s %s', seqstart, seqincrement,
                seqmin, seqmax, seqcache, CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options,
            deptype, refobjid, refobjsubid
        FROM pg_sequence
        JOIN pg_class ON pg_class.oid = seqrelid
        JOIN space ON relnamespace = space
        LEFT JOIN pg_depend ON pg_depend.classid = 'pg_class'::regclass AND pg_depend.objid = seqrelid
            AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
        WHERE NOT EXISTS (
            SELECT FROM extended WHERE extended.classid = 'pg_class'::regclass AND extended.objid = seqrelid
        )
    )
"""

# pg_get_indexdef looks up each index, table and column by itself, and caches them: three quarters of all memory used
# here, and a third of the time. So the definition of a plain index, with default operator classes and collations, is
# written here.
_PLAIN_INDEXES = """
    plain_index AS MATERIALIZED (
        SELECT indexrelid, format('USING %s (%s)', min(amname), string_agg(
            quote_ident(attname) || CASE option WHEN 1 THEN ' DESC NULLS LAST' WHEN 2 THEN ' NULLS FIRST'
                WHEN 3 THEN ' DESC' ELSE '' END, ', ' ORDER BY place)) AS definition
        FROM pg_index
        JOIN relation ON relation.oid = indrelid
        JOIN pg_class AS indexed ON indexed.oid = indexrelid
        JOIN pg_am ON pg_am.oid = indexed.relam
        CROSS JOIN LATERAL unnest(indkey::int2[], indclass::oid[], indcollation::oid[], indoption::int2[])
            WITH ORDINALITY AS part (number, class, collated, option, place)
        JOIN pg_attribute ON attrelid = indrelid AND attnum = number
        JOIN pg_opclass ON pg_opclass.oid = class
        WHERE indexprs IS NULL AND indpred IS NULL AND NOT indisunique AND indnatts = indnkeyatts
        GROUP BY indexrelid
        HAVING bool_and(
            collated = attcollation AND opcdefault
            AND (opcintype = atttypid OR opcintype = 'text'::regtype AND atttypid = 'varchar'::regtype)
        )
    )
"""

# Objects that are not enforced are rare: they are looked up once, not for each constraint and trigger. From those of a
# partition, the way leads up to the topmost table, level by level.
_UNENFORCED = """
    unready AS MATERIALIZED (
        SELECT indexrelid FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)
    ),
    silenced (disabled) AS (
        SELECT tgconstraint FROM pg_trigger WHERE tgenabled IN ('D', 'R') AND tgconstraint <> 0
        UNION
        SELECT conparentid FROM silenced JOIN pg_constraint ON pg_constraint.oid = disabled WHERE conparentid <> 0
    ),
    unlike_above (above, part, enabled) AS (
        SELECT part.tgparentid, part.tgrelid, part.tgenabled
        FROM pg_trigger AS part
        JOIN pg_trigger AS whole ON whole.oid = part.tgparentid AND whole.tgenabled <> part.tgenabled
        WHERE part.tgparentid <> 0
        UNION ALL
        SELECT tgparentid, part, enabled FROM unlike_above JOIN pg_trigger ON pg_trigger.oid = above AND tgparentid <> 0
    ),
    unlike AS MATERIALIZED (
        SELECT above AS topmost, string_agg(quote_ident(relname), ', ' ORDER BY relname) AS partitions
        FROM unlike_above
        JOIN pg_trigger ON pg_trigger.oid = above AND tgenabled <> enabled
        JOIN pg_class ON pg_class.oid = part
        GROUP BY above
    )
"""

_PARTS = {
    False: (
        objects.TABLES,
        objects.COLUMNS,
        objects.CONSTRAINTS,
        objects.INDEXES,
        objects.TRIGGERS,
        objects.SEQUENCES,
        objects.TYPES,
        objects.functions("prosqlbody IS NULL"),
    ),
    True: (objects.VIEWS, objects.POLICIES, objects.functions("prosqlbody IS NOT NULL")),
}


def select_items(*, locking: bool) -> TextClause:
    """Return the query for every object of the schemas in the parameter ``schemas``.

    With *locking*, it selects objects whose definition PostgreSQL cannot write without a lock, until the transaction
    ends, on the tables that they read: views, policies and functions in parsed form. Without it, all others.
    """
    return text(
        f"{_with_items(locking=locking)} SELECT schema, kind, parent, name, position, compared, written FROM item"
    )


def select_hashes(*, locking: bool) -> TextClause:
    """Return the query for a hash of the objects of each schema, equal if all objects are equal."""
    return text(
        f"""{_with_items(locking=locking)}
        SELECT schema, bit_xor(hash_array_extended(ARRAY[kind, parent, name] || compared, 0)) AS hash
        FROM item GROUP BY schema"""
    )


# A schema's name has no special characters of regular expressions. In quotes, it counts only if a dot follows:
# otherwise the quotes may be those of a text. No backslash: standard_conforming_strings may be off.
_OWN_NAME = """format('(?<![[:alnum:]_$~-])("%1$s"(?=[.])|%1$s(?![[:alnum:]_$~-]))', schema)"""


def _with_items(*, locking: bool) -> str:
    """Return the items with their aspects as ``written``, and as ``compared``: without their own schema's name."""
    parts = " UNION ALL ".join(_PARTS[locking])
    return f"""
    WITH RECURSIVE {_SPACES}, {_SEQUENCES}, {_PLAIN_INDEXES}, {_UNENFORCED},
    object (space, kind, parent, name, position, written) AS ({parts} OFFSET 0),
    item AS (
        SELECT object.*, schema, CASE
            WHEN strpos(array_to_string(written, ' '), schema) > 0 THEN ARRAY(
                SELECT regexp_replace(aspect, {_OWN_NAME}, chr(1), 'g')
                FROM unnest(written) WITH ORDINALITY AS each (aspect, place) ORDER BY place
            )
            ELSE written
        END AS compared
        FROM object JOIN space USING (space)
    )
    """


COUNT_LOCKS = text(
    """
    WITH object (class, object, space) AS (
        SELECT 'pg_rewrite'::regclass, pg_rewrite.oid, relnamespace
        FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT 'pg_policy'::regclass, pg_policy.oid, relnamespace
        FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
        UNION ALL
        SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc WHERE prosqlbody IS NOT NULL
    )
    SELECT nspname AS schema, count(DISTINCT (object, refobjid)) AS locks
    FROM object
    JOIN pg_namespace ON pg_namespace.oid = space
    LEFT JOIN pg_depend ON classid = class AND objid = object AND refclassid = 'pg_class'::regclass
    WHERE nspname = ANY(:schemas) GROUP BY nspname
    """
)
"""The number of tables that `select_items` locks in each schema with *locking*, without schemas that have none."""
