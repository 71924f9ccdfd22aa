"""The catalog's text: what PostgreSQL knows of any number of schemas, a row for each object.

How definitions become comparable: the functions that write them leave a schema's name out where the ``search_path``
reaches it, so each is called with its own schema first on the path. That is semantic, where replacing the name in the
text would also hit string literals. The path is set for the transaction, row by row, inside of the query: CASE promises
that its condition is evaluated before its result, and `set_config` acts at once. The query's own names were looked up
before that, so none of them can be caught by a tenant's.

Left out: objects of extensions, Alembic's version table, what a partition or an inheriting table has from its parent,
and how things are stored (tablespaces, storage parameters, statistics) or by whom they may be used (owners, privileges),
which may rightly differ from tenant to tenant.
"""

# ruff: noqa: S608 - nothing in these texts comes from outside

from __future__ import annotations

from sqlalchemy import TextClause, text


def _here(expression: str, path: str = "path") -> str:
    """Return *expression*, evaluated where the row's own schema stands first on the path."""
    return f"CASE WHEN set_config('search_path', {path}, true) <> '' THEN {expression} END"


def _relations(kinds: str) -> str:
    """Return the query for relations of some kinds; said where the planner knows how frequent they are."""
    return f"""
        SELECT space.*, pg_class.oid, relname::text, relkind, relpersistence, relrowsecurity, relforcerowsecurity,
            relispartition, relpartbound, relispopulated, reloptions
        FROM pg_class JOIN space ON relnamespace = space
        WHERE relkind IN ({kinds}) AND relname <> 'alembic_version'
            AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid)
    """


# What pg_get_viewdef itself executes has an operator in it, which must not be a tenant's.
_SPACES = f"""
    space AS MATERIALIZED (
        SELECT oid AS space, nspname::text AS schema,
            CASE WHEN EXISTS (SELECT FROM pg_operator WHERE oprnamespace = pg_namespace.oid)
                THEN format('pg_catalog, %I, pg_temp', nspname) ELSE format('%I, pg_catalog, pg_temp', nspname) END AS path
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

_TABLES = f"""
    SELECT space, 'table' AS kind,
        NULL AS parent, relname AS name, base.oid::bigint AS position, NULL AS source,
        ARRAY[
            CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
            CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END,
            CASE WHEN relforcerowsecurity THEN 'on' ELSE 'off' END,
            CASE WHEN relkind = 'p' THEN {_here("pg_get_partkeydef(base.oid)")} END,
            {
    _here(
        "(SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits"
        " WHERE inhrelid = base.oid)"
    )
},
            CASE WHEN relispartition THEN {_here("pg_get_expr(relpartbound, 0)")} END,
            description
        ] AS aspects
    FROM base
    LEFT JOIN pg_description ON objoid = base.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
"""

# Types below 16384 are PostgreSQL's own; collation 100 is the database's. Only what is GENERATED has variables in it,
# for which pg_get_expr must open the table. A NOT NULL that is NOT VALID exists since PostgreSQL 18.
_COLUMNS = f"""
    SELECT base.space, 'column', base.relname, attname::text, attnum, NULL,
        ARRAY[
            CASE WHEN atttypid < 16384 THEN format_type(atttypid, atttypmod)
                ELSE {_here("format_type(atttypid, atttypmod)")} END,
            CASE WHEN attcollation NOT IN (0, 100) THEN (
                SELECT {_here("attcollation::regcollation::text")}
                FROM pg_type WHERE oid = atttypid AND typcollation <> attcollation
            ) END,
            CASE WHEN NOT attnotnull THEN 'allowed' WHEN unproven.conrelid IS NULL THEN 'forbidden'
                ELSE 'forbidden in new rows' END,
            CASE WHEN adbin IS NOT NULL AND attgenerated = '' THEN {_here("pg_get_expr(adbin, 0)")} END,
            CASE WHEN adbin IS NOT NULL AND attgenerated <> '' THEN
                {_here("format('(%s) ', pg_get_expr(adbin, adrelid))")}
                || CASE attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END
            END,
            CASE attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END
                || ' AS IDENTITY (' || sequence.options || ')',
            description
        ]
    FROM pg_attribute
    JOIN base ON base.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    LEFT JOIN sequence ON sequence.deptype = 'i' AND refobjid = attrelid AND refobjsubid = attnum
    LEFT JOIN (
        SELECT conrelid, conkey[1] AS number FROM pg_constraint WHERE contype = 'n' AND NOT convalidated
    ) AS unproven ON unproven.conrelid = attrelid AND unproven.number = attnum
    LEFT JOIN pg_description ON objoid = attrelid AND classoid = 'pg_class'::regclass AND objsubid = attnum
    WHERE attnum > 0 AND NOT attisdropped AND attislocal
"""

_CONSTRAINTS = f"""
    SELECT base.space,
        CASE contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint' WHEN 'x' THEN 'exclusion constraint'
            WHEN 'c' THEN 'check constraint' ELSE 'foreign key' END,
        base.relname, conname::text, pg_constraint.oid::bigint, NULL,
        ARRAY[{_here("pg_get_constraintdef(pg_constraint.oid)", "base.path")}, referred.relname]
    FROM pg_constraint
    JOIN base ON base.oid = conrelid
    LEFT JOIN base AS referred ON referred.oid = confrelid AND referred.space = base.space
    WHERE contype IN ('p', 'u', 'x', 'c', 'f') AND conparentid = 0 AND conislocal
"""

# pg_get_indexdef looks up each index, table and column by itself, and keeps what it found: for most indexes, half of the
# time and three quarters of the memory of everything here. So what it would write of a plain index, with an operator
# class and a collation that go without saying, is written here.
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
            AND indexed.reloptions IS NULL
        GROUP BY indexrelid
        HAVING bool_and(
            collated = attcollation AND opcdefault
            AND (opcintype = atttypid OR opcintype = 'text'::regtype AND atttypid = 'varchar'::regtype)
        )
    )
"""

# A definition begins behind the table's name. Those of constraints are in the constraints, those of partitions in the
# parent's.
_INDEXES = f"""
    SELECT space, 'index', relation.relname, indexed.relname::text, pg_index.indexrelid::bigint, NULL,
        ARRAY[
            CASE WHEN indisunique THEN 'unique' ELSE 'not unique' END,
            coalesce(definition, substr({_here("pg_get_indexdef(pg_index.indexrelid)")}, 1 + length(
                format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN indisunique THEN 'UNIQUE ' END, indexed.relname,
                    CASE indexed.relkind WHEN 'I' THEN 'ONLY ' END, schema, relation.relname)
            ))),
            CASE WHEN indisvalid THEN 'valid' ELSE 'invalid' END
        ]
    FROM pg_index
    JOIN relation ON relation.oid = indrelid
    JOIN pg_class AS indexed ON indexed.oid = indexrelid
    LEFT JOIN plain_index ON plain_index.indexrelid = pg_index.indexrelid
    WHERE NOT indexed.relispartition AND NOT indisprimary AND NOT indisexclusion AND NOT (indisunique AND EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = indrelid AND conindid = pg_index.indexrelid AND contype = 'u'
    ))
"""

_TRIGGERS = f"""
    SELECT space, 'trigger', relname, tgname::text, pg_trigger.oid::bigint, NULL,
        ARRAY[
            {_here("pg_get_triggerdef(pg_trigger.oid, true)")},
            CASE tgenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
                ELSE 'enabled always' END
        ]
    FROM pg_trigger JOIN relation ON relation.oid = tgrelid
    WHERE NOT tgisinternal AND tgparentid = 0
"""

_OWNED_SEQUENCES = """
    SELECT sequence.space, 'sequence', NULL, sequence.relname, seqrelid::bigint, NULL,
        ARRAY[
            type,
            options,
            CASE sequence.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
            base.relname,
            attname::text
        ]
    FROM sequence
    LEFT JOIN (base JOIN pg_attribute ON attrelid = base.oid) ON refobjid = base.oid AND attnum = refobjsubid
    WHERE deptype IS DISTINCT FROM 'i'
"""

_ATTRIBUTES = """(
    SELECT string_agg(concat(quote_ident(attname), ' ', format_type(atttypid, atttypmod), CASE
        WHEN attcollation NOT IN (0, 100) THEN ' COLLATE ' || attcollation::regcollation END), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = typrelid AND NOT attisdropped
)"""

_TYPES = f"""
    SELECT space, CASE typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'composite type' END, NULL,
        typname::text, pg_type.oid::bigint, NULL,
        CASE typtype
            WHEN 'e' THEN
                ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = pg_type.oid ORDER BY enumsortorder)
            WHEN 'd' THEN ARRAY[
                {_here("format_type(typbasetype, typtypmod)")},
                CASE WHEN typcollation NOT IN (0, 100) THEN {_here("typcollation::regcollation::text")} END,
                {_here("pg_get_expr(typdefaultbin, 0)")},
                CASE WHEN typnotnull THEN 'forbidden' ELSE 'allowed' END
            ]
            ELSE ARRAY[{_here(_ATTRIBUTES)}]
        END
    FROM pg_type
    JOIN space ON typnamespace = space
    LEFT JOIN pg_class ON pg_class.oid = typrelid
    WHERE (typtype IN ('e', 'd') OR typtype = 'c' AND relkind = 'c')
        AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = pg_type.oid)
    UNION ALL
    SELECT space, 'domain constraint', typname, conname::text, pg_constraint.oid::bigint, NULL,
        ARRAY[{_here("pg_get_constraintdef(pg_constraint.oid)")}]
    FROM pg_constraint
    JOIN pg_type ON pg_type.oid = contypid
    JOIN space ON typnamespace = space
    WHERE contype = 'c'
        AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = pg_type.oid)
"""


def _own_name_hidden(written: str) -> str:
    """Return SQL for a function's text without its schema's name, which nothing else can take out of a body."""
    return (
        f"replace(replace(replace({written}, quote_ident(schema) || '.', chr(1) || '.'),"
        " '\"' || schema || '\".', chr(1) || '.'), quote_literal(schema), chr(2))"
    )


def _functions(which: str) -> str:
    """Return the query for those functions whose body is text, or is kept in parsed form (``BEGIN ATOMIC``)."""
    return f"""
    SELECT space, CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, NULL,
        format('%I(%s)', proname, arguments), pg_proc.oid::bigint, prosrc,
        ARRAY[
            {_own_name_hidden("replace(definition, '$' || tag || '$' || prosrc || '$' || tag || '$', chr(3))")},
            {_own_name_hidden("'$' || tag || '$' || prosrc || '$' || tag || '$'")}
        ]
    FROM pg_proc
    JOIN space ON pronamespace = space
    CROSS JOIN LATERAL (
        SELECT CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS tag,
            {_here("oidvectortypes(proargtypes)")} AS arguments,
            {_here("pg_get_functiondef(pg_proc.oid)")} AS definition
        OFFSET 0
    ) AS written
    WHERE prokind <> 'a' AND {which}
        AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid)
    """


_VIEWS = f"""
    SELECT space, CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, NULL, relname,
        viewed.oid::bigint, NULL,
        ARRAY[
            {_here("pg_get_viewdef(viewed.oid)")},
            array_to_string(reloptions, ', '),
            description
        ] || CASE WHEN relkind = 'm' THEN
            ARRAY[CASE WHEN relispopulated THEN 'populated' ELSE 'not populated' END]
        END
    FROM viewed
    LEFT JOIN pg_description ON objoid = viewed.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
"""

_POLICIES = f"""
    SELECT space, 'policy', relname, polname::text, pg_policy.oid::bigint, NULL,
        ARRAY[
            CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            CASE WHEN polroles = '{{0}}' THEN 'PUBLIC'
                ELSE (SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname)
                      FROM pg_roles WHERE oid = ANY(polroles)) END,
            {_here("pg_get_expr(polqual, polrelid)")},
            {_here("pg_get_expr(polwithcheck, polrelid)")}
        ]
    FROM pg_policy JOIN base ON base.oid = polrelid
"""

_PARTS = {
    False: (
        _TABLES,
        _COLUMNS,
        _CONSTRAINTS,
        _INDEXES,
        _TRIGGERS,
        _OWNED_SEQUENCES,
        _TYPES,
        _functions("prosqlbody IS NULL"),
    ),
    True: (_VIEWS, _POLICIES, _functions("prosqlbody IS NOT NULL")),
}


def _items(*, locking: bool) -> str:
    parts = " UNION ALL ".join(_PARTS[locking])
    return f"""
    WITH {_SPACES}, {_SEQUENCES}, {_PLAIN_INDEXES},
    item (space, kind, parent, name, position, source, aspects) AS ({parts})
    """


def select_items(*, locking: bool) -> TextClause:
    """Return the query for every object of the schemas in the parameter ``schemas``.

    *locking* asks for those that PostgreSQL cannot write down without locking the tables they read until the
    transaction ends: views, policies and functions that are kept in parsed form. Without it, for all others.
    """
    return text(
        f"{_items(locking=locking)} SELECT schema, kind, parent, name, position, source, aspects FROM item JOIN space USING (space)"
    )


def select_hashes(*, locking: bool) -> TextClause:
    """Return the query for one number for each of these schemas, equal where all objects are; otherwise as `select_items`."""
    return text(
        f"{_items(locking=locking)}, hashed AS (SELECT space, bit_xor(hash_array_extended(ARRAY[kind, parent, name] || aspects, 0)) AS hash FROM item GROUP BY space)"
        " SELECT schema, hash FROM hashed JOIN space USING (space)"
    )


COUNT_LOCKING = text(
    """
    SELECT nspname AS schema, count(*) AS objects FROM (
        SELECT relnamespace AS space FROM pg_class WHERE relkind IN ('v', 'm')
        UNION ALL
        SELECT relnamespace FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
        UNION ALL
        SELECT pronamespace FROM pg_proc WHERE prosqlbody IS NOT NULL
    ) AS object JOIN pg_namespace ON pg_namespace.oid = space
    WHERE nspname = ANY(:schemas) GROUP BY nspname
    """
)
"""How many objects of each schema `select_items` reads with *locking*; the others have none."""
