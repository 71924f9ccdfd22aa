"""Dependencies among the objects of a schema, and properties attached to them, from PostgreSQL's catalog.

Shapes are compared without them. Repair scripts need them: a statement that removes an object fails while another
uses the object, and removes the attached properties.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Row, text

from tenantkit.drift.catalog.shape import CONSTRAINTS, ROUTINES, VIEWS, Item, Key, Kind, Shape

Node: TypeAlias = Key | str
"""An object that is compared, or PostgreSQL's description of another one."""

BLOCKING = "n"
"""The dependency that prevents the needed object from being dropped; with any other, the user is dropped with it."""
COMMENT_ON_NOT_NULL = "the comment on its NOT NULL"
"""Attached to a column whose ``NOT NULL``, a constraint since PostgreSQL 18, has a comment."""
PRIVATE = "private"
"""Attached to an object that PUBLIC may not use, although PostgreSQL's default permits it."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies among the objects of one schema."""

    needs: Mapping[Key, Collection[Node]]
    """The objects of the same schema that each object needs."""
    uses: Mapping[Key, Mapping[Node, str]]
    """The objects that use each object, with PostgreSQL's letter for the kind of dependency."""
    attached: Mapping[Key, Collection[str]]
    """Properties of each object that are not compared, and are lost with it."""
    others: Collection[str]
    """The objects of the schema that are not compared."""


class Detail(NamedTuple):
    """The shape and the dependencies of one schema."""

    shape: Shape
    dependencies: Dependencies


_Address: TypeAlias = tuple[str, int, int]

_CLASSES: Mapping[Kind, str] = {
    **dict.fromkeys((Kind.ENUM, Kind.DOMAIN, Kind.COMPOSITE), "pg_type"),
    **dict.fromkeys((*CONSTRAINTS, Kind.DOMAIN_CONSTRAINT), "pg_constraint"),
    **dict.fromkeys((Kind.SEQUENCE, Kind.TABLE, Kind.INDEX, *VIEWS), "pg_class"),
    **dict.fromkeys(ROUTINES, "pg_proc"),
    Kind.TRIGGER: "pg_trigger",
    Kind.POLICY: "pg_policy",
}


def _address(item: Item, shape: Shape) -> _Address:
    if item.key.kind is Kind.COLUMN:
        return "pg_class", shape[Key(Kind.TABLE, None, item.key.table or "")].position, item.position
    return _CLASSES[item.key.kind], item.position, 0


def assemble(rows: Iterable[Row[Any]], shape: Shape) -> Dependencies:
    """Return the dependencies of the items of *shape*, from the *rows* of `SELECT_DEPENDENCIES`."""
    keys = {_address(item, shape): key for key, item in shape.items()}
    rows = list(rows)
    aliases = {(row.type, row.oid): (row.to_type, row.to_oid, row.to_sub) for row in rows if row.what == "alias"}

    def node(address: _Address, description: str | None) -> Node | None:
        while target := aliases.get(address[:2]):
            address = target
        return keys.get(address) or keys.get((*address[:2], 0)) or description

    needs, attached = defaultdict[Key, set[Node]](set), defaultdict[Key, set[str]](set)
    uses = defaultdict[Key, dict[Node, str]](dict)
    others = set[str]()
    for row in rows:
        subject = node((row.type, row.oid, row.sub), row.description)
        if row.what == "need":
            needed = node((row.to_type, row.to_oid, row.to_sub), row.needed)
            if subject is None or needed is None or subject == needed:
                continue
            if isinstance(subject, Key):
                needs[subject].add(needed)
            if isinstance(needed, Key) and uses[needed].get(subject, BLOCKING) == BLOCKING:
                uses[needed][subject] = row.detail
        elif row.what == "attached" and isinstance(subject, Key):
            attached[subject].add(row.detail)
        elif row.what == "other" and isinstance(subject, str):
            others.add(subject)
    return Dependencies(needs, uses, attached, others)


# Descriptions are written with the own schema first on the path, as definitions are. An alias leads from an internal
# object to the one that users know: from a view's rule, a column's default, the index of a constraint, the copy of a
# foreign key for a partition that it refers to, the types of a table's rows and of arrays.
SELECT_DEPENDENCIES = text(
    """
    WITH space AS MATERIALIZED (
        SELECT oid AS space, nspname::text AS schema, format('pg_catalog, %I, pg_temp', nspname) AS path
        FROM pg_namespace WHERE nspname = ANY(:schemas)
    ),
    own (space, class, oid) AS MATERIALIZED (
        SELECT space, each.class, each.oid
        FROM (
            SELECT relnamespace, 'pg_class'::regclass, oid FROM pg_class
            UNION ALL SELECT typnamespace, 'pg_type'::regclass, oid FROM pg_type
            UNION ALL SELECT pronamespace, 'pg_proc'::regclass, oid FROM pg_proc
            UNION ALL SELECT connamespace, 'pg_constraint'::regclass, oid FROM pg_constraint
            UNION ALL SELECT oprnamespace, 'pg_operator'::regclass, oid FROM pg_operator
            UNION ALL SELECT opcnamespace, 'pg_opclass'::regclass, oid FROM pg_opclass
            UNION ALL SELECT collnamespace, 'pg_collation'::regclass, oid FROM pg_collation
            UNION ALL SELECT cfgnamespace, 'pg_ts_config'::regclass, oid FROM pg_ts_config
            UNION ALL SELECT dictnamespace, 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
        ) AS each (space, class, oid)
        JOIN space USING (space)
    ),
    relation AS MATERIALIZED (SELECT space, pg_class.* FROM pg_class JOIN space ON relnamespace = space),
    part (space, class, oid) AS (
        SELECT * FROM own
        UNION ALL
        SELECT space, 'pg_trigger'::regclass, pg_trigger.oid FROM pg_trigger JOIN relation ON relation.oid = tgrelid
        UNION ALL
        SELECT space, 'pg_policy'::regclass, pg_policy.oid FROM pg_policy JOIN relation ON relation.oid = polrelid
    ),
    found (space, what, class, oid, sub, to_class, to_oid, to_sub, detail) AS (
        SELECT space, 'need', classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype::text
        FROM own JOIN pg_depend ON refclassid = class AND refobjid = oid WHERE deptype <> 'e'
        UNION ALL
        SELECT space, 'alias', 'pg_rewrite'::regclass, pg_rewrite.oid, 0, 'pg_class'::regclass, ev_class, 0, NULL
        FROM pg_rewrite JOIN relation ON relation.oid = ev_class WHERE rulename = '_RETURN'
        UNION ALL
        SELECT space, 'alias', 'pg_attrdef'::regclass, pg_attrdef.oid, 0, 'pg_class'::regclass, adrelid, adnum, NULL
        FROM pg_attrdef JOIN relation ON relation.oid = adrelid
        UNION ALL
        SELECT space, 'alias', 'pg_class'::regclass, conindid, 0, 'pg_constraint'::regclass, pg_constraint.oid, 0, NULL
        FROM pg_constraint JOIN relation ON relation.oid = conrelid WHERE contype IN ('p', 'u', 'x')
        UNION ALL
        SELECT space, 'alias', 'pg_constraint'::regclass, copy.oid, 0, 'pg_constraint'::regclass, original.oid, 0, NULL
        FROM pg_constraint AS copy JOIN space ON copy.connamespace = space
        JOIN pg_constraint AS original ON original.oid = copy.conparentid AND original.conrelid = copy.conrelid
        UNION ALL
        SELECT space, 'alias', 'pg_type'::regclass, reltype, 0, 'pg_class'::regclass, oid, 0, NULL
        FROM relation WHERE reltype <> 0 AND relkind <> 'c'
        UNION ALL
        SELECT space, 'alias', 'pg_class'::regclass, oid, 0, 'pg_type'::regclass, reltype, 0, NULL
        FROM relation WHERE relkind = 'c'
        UNION ALL
        SELECT space, 'alias', 'pg_type'::regclass, typarray, 0, 'pg_type'::regclass, pg_type.oid, 0, NULL
        FROM pg_type JOIN space ON typnamespace = space WHERE typarray <> 0
        UNION ALL
        SELECT space, 'attached', class, oid, 0, NULL, NULL, NULL, 'its comment'
        FROM part JOIN pg_description ON classoid = class AND objoid = oid AND objsubid = 0
        UNION ALL
        SELECT space, 'attached', 'pg_class'::regclass, relation.oid, 0, NULL, NULL, NULL, detail
        FROM relation JOIN pg_index ON indexrelid = relation.oid
        CROSS JOIN LATERAL unnest(ARRAY[
            CASE WHEN reloptions IS NOT NULL THEN 'its storage parameters' END,
            CASE WHEN reltablespace <> 0 THEN 'its tablespace' END,
            CASE WHEN indisclustered THEN 'its use by CLUSTER' END
        ]) AS detail
        WHERE detail IS NOT NULL
        UNION ALL
        SELECT space, 'attached', 'pg_class'::regclass, attrelid, 0, NULL, NULL, NULL, 'its statistics targets'
        FROM relation JOIN pg_attribute ON attrelid = relation.oid WHERE relkind IN ('i', 'I') AND attstattarget >= 0
        UNION ALL
        SELECT space, 'attached', 'pg_class'::regclass, attrelid, attnum, NULL, NULL, NULL, 'its storage or compression'
        FROM relation JOIN pg_attribute ON attrelid = relation.oid JOIN pg_type ON pg_type.oid = atttypid
        WHERE relkind IN ('r', 'p') AND (attstorage <> typstorage OR attcompression <> '')
        UNION ALL
        SELECT space, 'attached', 'pg_class'::regclass, conrelid, conkey[1], NULL, NULL, NULL,
            'the comment on its NOT NULL'
        FROM pg_constraint JOIN relation ON relation.oid = conrelid
        JOIN pg_description ON classoid = 'pg_constraint'::regclass AND objoid = pg_constraint.oid
        WHERE contype = 'n'
        UNION ALL
        SELECT space, 'attached', class, oid, 0, NULL, NULL, NULL, 'private'
        FROM (
            SELECT pronamespace, 'pg_proc'::regclass, oid, proacl FROM pg_proc
            UNION ALL SELECT typnamespace, 'pg_type'::regclass, oid, typacl FROM pg_type
        ) AS granted (space, class, oid, acl)
        JOIN space USING (space)
        WHERE acl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(acl) WHERE grantee = 0)
        UNION ALL
        SELECT space, 'other', class, oid, 0, NULL, NULL, NULL, NULL FROM own WHERE class <> 'pg_constraint'::regclass
    )
    SELECT schema, what, class::regclass::text AS type, found.oid::bigint AS oid, sub,
        to_class::regclass::text AS to_type, to_oid::bigint AS to_oid, to_sub, detail,
        CASE WHEN set_config('search_path', path, true) <> '' THEN
            pg_describe_object(class, found.oid, sub) END AS description,
        CASE WHEN set_config('search_path', path, true) <> '' THEN
            pg_describe_object(to_class, to_oid, to_sub) END AS needed
    FROM found JOIN space USING (space)
    """
)
"""The dependencies within the schemas in the parameter ``schemas``, and properties attached to their objects."""
