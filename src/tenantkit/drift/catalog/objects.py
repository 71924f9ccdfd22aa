"""The queries for each kind of object: a row for each, with its aspects in the order of `shape.ASPECTS`.

Definitions are made comparable by the ``search_path``: PostgreSQL's functions omit the name of a schema on the path,
so each is called with its own schema first on the path. That is semantic, where replacing the name in the
text would also hit string literals. The path is set for the transaction, row by row, inside of the query: CASE promises
that its condition is evaluated before its result, and `set_config` acts at once. The query's own names were looked up
before that, so a tenant's objects cannot shadow them.

The columns are the schema's OID, the kind, the table it belongs to, the name, the position among objects of its kind,
and the aspects. ``base`` and ``viewed`` are tables and views, ``relation`` is both: see `queries`.
"""

# ruff: noqa: S608 - nothing in these texts comes from outside

from __future__ import annotations

from tenantkit.isolation.fence import TRIGGER


def _here(expression: str, path: str = "path") -> str:
    """Return *expression*, evaluated with the row's own schema first on the path."""
    return f"CASE WHEN set_config('search_path', {path}, true) <> '' THEN {expression} END"


def _without_parameters(definition: str, options: str) -> str:
    """Return *definition* without the storage parameters in *options*, as PostgreSQL writes them."""
    return f"""replace({definition}, coalesce(' WITH (' || (
        SELECT string_agg(concat(quote_ident(split_part(option, '=', 1)), '=',
            CASE WHEN quote_ident(value) = value THEN value ELSE quote_literal(value) END), ', ')
        FROM unnest({options}) AS option CROSS JOIN LATERAL substr(option, 1 + strpos(option, '=')) AS value
    ) || ')', ''), '')"""


_PARENTS = """(
    SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = base.oid
)"""

TABLES = f"""
    SELECT space, 'table', NULL, relname, base.oid::bigint,
        ARRAY[
            CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
            CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END,
            CASE WHEN relforcerowsecurity THEN 'on' ELSE 'off' END,
            CASE WHEN relkind = 'p' THEN {_here("pg_get_partkeydef(base.oid)")} END,
            {_here(_PARENTS)},
            CASE WHEN relispartition THEN {_here("pg_get_expr(relpartbound, 0)")} || CASE WHEN EXISTS (
                SELECT FROM pg_inherits WHERE inhrelid = base.oid AND inhdetachpending
            ) THEN ', being detached' ELSE '' END END,
            CASE relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE coalesce((
                SELECT 'USING INDEX ' || quote_ident(indexed.relname)
                FROM pg_index JOIN pg_class AS indexed ON indexed.oid = indexrelid
                WHERE indrelid = base.oid AND indisreplident
            ), 'NOTHING') END,
            description
        ]
    FROM base
    LEFT JOIN pg_description ON objoid = base.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
"""

# Types below 16384 are PostgreSQL's own; collation 100 is the database's. Only GENERATED expressions have variables,
# for which pg_get_expr must open the table. A NOT NULL that is NOT VALID exists since PostgreSQL 18.
COLUMNS = f"""
    SELECT base.space, 'column', base.relname, attname::text, attnum,
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

_CONSTRAINT = _without_parameters(
    "pg_get_constraintdef(pg_constraint.oid)",
    "(SELECT reloptions FROM pg_class WHERE oid = conindid AND contype = 'x')",
)

CONSTRAINTS = f"""
    SELECT base.space,
        CASE contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint' WHEN 'x' THEN 'exclusion constraint'
            WHEN 'c' THEN 'check constraint' ELSE 'foreign key' END,
        base.relname, conname::text, pg_constraint.oid::bigint,
        ARRAY[
            {_here(_CONSTRAINT, "base.path")},
            CASE
                WHEN unready.indexrelid IS NOT NULL AND contype <> 'f' THEN 'not enforced, its index is invalid'
                WHEN pg_constraint.oid IN (SELECT disabled FROM silenced)
                    THEN 'not enforced, triggers of it are disabled'
                ELSE 'in force'
            END,
            referred.relname
        ]
    FROM pg_constraint
    JOIN base ON base.oid = conrelid
    LEFT JOIN base AS referred ON referred.oid = confrelid AND referred.space = base.space
    LEFT JOIN unready ON unready.indexrelid = conindid
    WHERE contype IN ('p', 'u', 'x', 'c', 'f') AND conparentid = 0 AND conislocal
"""

_INDEX = _without_parameters("pg_get_indexdef(pg_index.indexrelid)", "indexed.reloptions")

# A definition begins after the table's name. Indexes of constraints belong to the constraints, those of partitions to
# the parent's index.
INDEXES = f"""
    SELECT space, 'index', relation.relname, indexed.relname::text, pg_index.indexrelid::bigint,
        ARRAY[
            CASE WHEN indisunique THEN 'yes' ELSE 'no' END,
            coalesce(definition, substr({_here(_INDEX)}, 1 + length(
                format('CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN indisunique THEN 'UNIQUE ' END, indexed.relname,
                    CASE indexed.relkind WHEN 'I' THEN 'ONLY ' END, schema, relation.relname)
            ))),
            CASE WHEN indisvalid AND indisready AND indislive THEN 'valid'
                WHEN indexed.relkind = 'I' THEN 'not on every partition' ELSE 'invalid' END
        ]
    FROM pg_index
    JOIN relation ON relation.oid = indrelid
    JOIN pg_class AS indexed ON indexed.oid = indexrelid
    LEFT JOIN plain_index ON plain_index.indexrelid = pg_index.indexrelid
    WHERE NOT indexed.relispartition AND NOT indisprimary AND NOT indisexclusion AND NOT (indisunique AND EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = indrelid AND conindid = pg_index.indexrelid AND contype = 'u'
    ))
"""

TRIGGERS = f"""
    SELECT space, 'trigger', relname, tgname::text, pg_trigger.oid::bigint,
        ARRAY[
            {_here("pg_get_triggerdef(pg_trigger.oid, true)")},
            CASE tgenabled WHEN 'O' THEN 'enabled' WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'enabled on replicas only'
                ELSE 'enabled always' END || coalesce(' but not on ' || partitions, '')
        ]
    FROM pg_trigger
    JOIN relation ON relation.oid = tgrelid
    LEFT JOIN unlike ON topmost = pg_trigger.oid
    WHERE NOT tgisinternal AND pg_trigger.tgparentid = 0 AND tgname <> '{TRIGGER}'
"""

SEQUENCES = """
    SELECT sequence.space, 'sequence', NULL, sequence.relname, seqrelid::bigint,
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
    FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped
)"""

TYPES = f"""
    SELECT space, CASE typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'composite type' END, NULL,
        typname::text, pg_type.oid::bigint,
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
    SELECT space, 'domain constraint', typname, conname::text, pg_constraint.oid::bigint,
        ARRAY[{_here("pg_get_constraintdef(pg_constraint.oid)")}]
    FROM pg_constraint
    JOIN pg_type ON pg_type.oid = contypid
    JOIN space ON typnamespace = space
    WHERE contype = 'c'
        AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_type'::regclass AND objid = pg_type.oid)
"""


# Language 12 is "internal". Range types are left out, and so are the functions that come with each of them.
def functions(which: str) -> str:
    """Return the query for functions; *which* selects bodies of text, or bodies in parsed form (``BEGIN ATOMIC``)."""
    return f"""
    SELECT space, CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, NULL,
        format('%I(%s)', proname, arguments), pg_proc.oid::bigint,
        ARRAY[
            replace(definition, tag || prosrc || tag, tag || chr(2) || tag),
            prosrc
        ]
    FROM pg_proc
    JOIN space ON pronamespace = space
    CROSS JOIN LATERAL (
        SELECT CASE prokind WHEN 'p' THEN '$procedure$' ELSE '$function$' END AS tag,
            {_here("oidvectortypes(proargtypes)")} AS arguments,
            {_here("pg_get_functiondef(pg_proc.oid)")} AS definition
        OFFSET 0
    ) AS written
    WHERE prokind <> 'a' AND {which} AND NOT (prolang = 12 AND prosrc ~ '^(multi)?range_constructor')
        AND NOT EXISTS (SELECT FROM extended WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid)
    """


VIEWS = f"""
    SELECT space, CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, NULL, relname,
        viewed.oid::bigint,
        ARRAY[
            {_here("pg_get_viewdef(viewed.oid)")},
            {_here(_ATTRIBUTES.replace("typrelid", "viewed.oid"))},
            CASE relkind WHEN 'v' THEN array_to_string(reloptions, ', ') END,
            description
        ] || CASE WHEN relkind = 'm' THEN
            ARRAY[CASE WHEN relispopulated THEN 'populated' ELSE 'empty' END]
        END
    FROM viewed
    LEFT JOIN pg_description ON objoid = viewed.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
"""

POLICIES = f"""
    SELECT space, 'policy', relname, polname::text, pg_policy.oid::bigint,
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
