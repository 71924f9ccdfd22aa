"""The objects that a statement creates or changes, and the schemas that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tenantkit.lint.sql.expressions import constant
from tenantkit.lint.sql.tree import Name, Node, find, name_of, parent_of, parts, walk
from tenantkit.naming import MAX_IDENTIFIER_BYTES

_CREATING = frozenset(
    """
    CompositeTypeStmt CreateDomainStmt CreateEnumStmt CreateFunctionStmt CreateRangeStmt CreateSeqStmt CreateStatsStmt
    CreateStmt DefineStmt ViewStmt
    """.split()  # noqa: SIM905 - as a list it would take a page
)
_FIELDS = {
    kind: field
    for field, kinds in {
        "defnames": "AlterStatsStmt CreateStatsStmt DefineStmt",
        "domainname": "CreateDomainStmt",
        "funcname": "CreateFunctionStmt",
        "objects": "DropStmt GrantStmt",
        "relation": (
            "AlterTableStmt ClusterStmt CreateStmt CreateTrigStmt IndexStmt RefreshMatViewStmt ReindexStmt RuleStmt"
        ),
        "relations": "LockStmt TruncateStmt",
        "sequence": "AlterSeqStmt CreateSeqStmt",
        "table": "AlterPolicyStmt CreatePolicyStmt",
        "typeName": "AlterDomainStmt AlterEnumStmt CreateEnumStmt CreateRangeStmt",
        "typevar": "CompositeTypeStmt",
        "view": "ViewStmt",
    }.items()
    for kind in kinds.split()
}
"""The field with the name of the object that a statement creates, changes or locks, by the kind of the statement."""
_PARTS_OF_TABLES = frozenset(f"OBJECT_{kind}" for kind in ("COLUMN", "POLICY", "RULE", "TABCONSTRAINT", "TRIGGER"))
_WRITES = ("DeleteStmt", "InsertStmt", "MergeStmt", "UpdateStmt")

_QUALIFIED = frozenset(
    """
    collname defnames domainname funcname name names objname opclass opclassname opfamilyname operName typeName
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""Fields with a name that may begin with a schema."""
_BY_TEXT = frozenset(
    {"currval", "nextval", "pg_get_serial_sequence", "setval"}
    | {f"to_reg{kind}" for kind in ("class", "collation", "namespace", "oper", "operator", "proc", "procedure", "type")}
)
"""Functions with the name of an object as a text argument."""
_SCHEMA_IN_TEXT = re.compile(r'(?:"((?:[^"]|"")*)"|(\w+))\.')
_NO_SCHEMAS = frozenset({"", "pg_temp", "$user"})


def created_by(kind: str, node: Node) -> Name | None:
    """Return the name of the object, or of the schema, that a statement creates."""
    match kind:
        case "CreateTableAsStmt":
            return name_of(node["into"]["rel"])
        case "CreateForeignTableStmt":
            return name_of(node["base"]["relation"])
        case "CreateSchemaStmt":
            return Name(None, node.get("schemaname", ""))
        case "SelectStmt" if "intoClause" in node:
            return name_of(node["intoClause"]["rel"])
        case _:
            return name_of(node.get(_FIELDS[kind])) if kind in _CREATING else None


def changed_by(kind: str, node: Node) -> Iterator[Name]:
    """Yield the objects that a statement creates, alters, drops, locks or writes to, also in its WITH."""
    yield from filter(None, (name_of(each.get("relation")) for each in find({kind: node}, *_WRITES)))
    object_type = node.get("removeType") or node.get("objtype")
    find_name = parent_of if object_type in _PARTS_OF_TABLES and kind in {"CommentStmt", "DropStmt"} else name_of
    match kind:
        case "CommentStmt" | "SecLabelStmt":
            found: Iterable[Any] = [node["object"]]
        case "RenameStmt" | "AlterObjectSchemaStmt" | "AlterOwnerStmt":
            found = [node.get("relation") or node.get("object")]
        case "CopyStmt":
            found = [node.get("relation")] if node.get("is_from") else ()
        case "VacuumStmt":
            found = node.get("rels", ()) if node.get("is_vacuumcmd") else ()
        case "GrantStmt" if node["targtype"] != "ACL_TARGET_OBJECT":
            found = ()
        case "AlterFunctionStmt":
            found = [node["func"].get("objname")]
        case _ if kind in _FIELDS:
            value: Any = node.get(_FIELDS[kind])
            found = value if _FIELDS[kind] in {"objects", "relations"} else [value]
        case _:
            yield from filter(None, [created_by(kind, node)])
            return
    yield from filter(None, map(find_name, found))


def schemas_of(kind: str, node: Node) -> Iterator[str]:
    """Yield the schemas that a statement names, also as its object."""
    yield from schemas_in({kind: node})
    yield from (name.schema for name in changed_by(kind, node) if name.schema)
    called = {each[key] for each in walk(node) for key in ("aliasname", "ctename", "relname") if key in each}
    for column in find(node, "ColumnRef"):
        if len(column["fields"]) > 2 and (named := parts(column["fields"][-3:-2])):  # noqa: PLR2004 - the table is second
            yield from {*named} - called - {"excluded", "new", "old"}
    object_types = {node.get(key) for key in ("objectType", "objtype", "removeType", "renameType")}
    if "OBJECT_SCHEMA" in object_types or node.get("targtype") == "ACL_TARGET_ALL_IN_SCHEMA":
        yield from (parts(each)[-1] for each in node.get("objects", ()) or filter(None, [node.get("object")]))
        yield from filter(None, [node.get("subname")])
    if kind == "CreateSchemaStmt":
        yield from filter(None, [node.get("schemaname")])


def schemas_in(value: Any) -> Iterator[str]:
    """Yield the schemas that qualify names in *value*, a statement or a part of one."""
    for node in walk(value):
        if "relname" in node and "schemaname" in node:
            yield node["schemaname"]
        for key in _QUALIFIED & node.keys():
            yield from parts(node[key])[-2:-1]
        if "newschema" in node:
            yield node["newschema"]
        if node.get("name") == "search_path":
            yield from {str(constant(each)) for each in node.get("args", ())} - _NO_SCHEMAS
        match node:
            case {"DefElem": {"defname": "owned_by", "arg": owner}}:
                yield from parts(owner)[-3:-2]
            case {"DefElem": {"defname": "schemas", "arg": schemas}}:
                yield from parts(schemas)
            case {"FuncCall": {"funcname": name, "args": [first, *_]}} if parts(name)[-1] in _BY_TEXT:
                yield from _schema_in(first)
            case {"TypeCast": {"typeName": {"names": name}, "arg": text}} if parts(name)[-1].startswith("reg"):
                yield from _schema_in(text)
            case _:
                pass


def _schema_in(text: Node) -> Iterator[str]:
    """Yield the schema of the object that a constant text names."""
    if (found := _SCHEMA_IN_TEXT.match(str(constant(text)))) is not None:
        yield found[1].replace('""', '"') if found[1] is not None else found[2]


def long_names(sql: str, value: Any) -> Iterator[str]:
    """Yield names of *sql* that PostgreSQL truncates: *value* has the names that the parser has truncated."""
    texts = {each for node in walk(value) for each in node.values() if isinstance(each, str)}
    for cut in texts:
        if MAX_IDENTIFIER_BYTES - 3 <= len(cut.encode()) <= MAX_IDENTIFIER_BYTES:  # characters have up to 4 bytes
            quoted = re.escape(cut.replace('"', '""'))
            pattern = rf'"({quoted}(?:[^"]|"")+)"|(?<![\w$\'"])({re.escape(cut)}[\w$]+)'
            for found in re.finditer(pattern, sql, re.IGNORECASE):
                name = (found[1] or found[2]).replace('""', '"')
                if len(name.encode()) > MAX_IDENTIFIER_BYTES:
                    yield name
