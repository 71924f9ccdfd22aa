"""What exists once in a database, or in a server, and so belongs to no tenant."""

from __future__ import annotations

from tenantkit.lint.sql.expressions import functions
from tenantkit.lint.sql.statement import Statement
from tenantkit.lint.sql.tree import Node, options

_STATEMENTS = {
    "AlterDefaultPrivilegesStmt": "alter default privileges",
    "AlterPublicationStmt": "alter publication",
    "ReindexStmt": "reindex",
    "VacuumStmt": "vacuum",
    "AlterDatabaseRefreshCollStmt": "alter database",
    "AlterDatabaseSetStmt": "alter database",
    "AlterDatabaseStmt": "alter database",
    "AlterEventTrigStmt": "alter event trigger",
    "AlterExtensionContentsStmt": "alter extension",
    "AlterExtensionStmt": "alter extension",
    "AlterFdwStmt": "alter foreign data wrapper",
    "AlterForeignServerStmt": "alter server",
    "AlterRoleSetStmt": "alter role",
    "AlterRoleStmt": "alter role",
    "AlterSubscriptionStmt": "alter subscription",
    "AlterSystemStmt": "alter system",
    "AlterTableSpaceOptionsStmt": "alter tablespace",
    "AlterUserMappingStmt": "alter user mapping",
    "CreateAmStmt": "create access method",
    "CreateCastStmt": "create cast",
    "CreateEventTrigStmt": "create event trigger",
    "CreateExtensionStmt": "create extension",
    "CreateFdwStmt": "create foreign data wrapper",
    "CreateForeignServerStmt": "create server",
    "CreatePLangStmt": "create language",
    "CreatePublicationStmt": "create publication",
    "CreateSchemaStmt": "create schema",
    "CreateSubscriptionStmt": "create subscription",
    "CreateTableSpaceStmt": "create tablespace",
    "CreateTransformStmt": "create transform",
    "CreateUserMappingStmt": "create user mapping",
    "CreatedbStmt": "create database",
    "DropOwnedStmt": "drop owned",
    "DropRoleStmt": "drop role",
    "DropSubscriptionStmt": "drop subscription",
    "DropTableSpaceStmt": "drop tablespace",
    "DropUserMappingStmt": "drop user mapping",
    "DropdbStmt": "drop database",
    "ImportForeignSchemaStmt": "import foreign schema",
    "ReassignOwnedStmt": "reassign owned",
}
_OBJECTS = {
    f"OBJECT_{name.upper().replace(' ', '_')}": name
    for name in (
        "access method",
        "cast",
        "database",
        "event trigger",
        "extension",
        "language",
        "publication",
        "role",
        "schema",
        "subscription",
        "tablespace",
        "transform",
    )
} | {"OBJECT_FDW": "foreign data wrapper", "OBJECT_FOREIGN_SERVER": "server"}
_VERBS = {
    "AlterOwnerStmt": ("alter", "objectType"),
    "CommentStmt": ("comment on", "objtype"),
    "DropStmt": ("drop", "removeType"),
    "RenameStmt": ("alter", "renameType"),
    "SecLabelStmt": ("security label on", "objtype"),
}
"""Statements about many kinds of objects, with the field in which the kind stands."""
_GRANTED = frozenset(f"OBJECT_{kind}" for kind in ("DATABASE", "FDW", "FOREIGN_SERVER", "SCHEMA", "TABLESPACE"))
_SLOTS = frozenset(f"pg_{verb}_replication_slot" for verb in ("create_logical", "create_physical", "drop"))


def about_database(statement: Statement) -> str | None:
    """Return what *statement* does to something that exists once in a database, in the words of SQL."""
    kind, node = statement.kind, statement.node
    if kind in _VERBS:
        verb, field = _VERBS[kind]
        return f"{verb} {_OBJECTS[node[field]]}" if node[field] in _OBJECTS else None
    if kind == "CreateRoleStmt":
        return f"create {node['stmt_type'].removeprefix('ROLESTMT_').lower()}"
    if kind in {"GrantRoleStmt", "GrantStmt"}:
        verb = "grant" if node.get("is_grant") else "revoke"
        return verb if kind == "GrantRoleStmt" else _granting(verb, node)
    if kind in _STATEMENTS and not _is_about_tables(kind, node):
        return _STATEMENTS[kind] if kind != "VacuumStmt" or "is_vacuumcmd" in node else "analyze"
    return next((each for each in functions(node) if each in _SLOTS or each.startswith("cron.")), None)


def _granting(verb: str, node: Node) -> str | None:
    return f"{verb} on {_OBJECTS[node['objtype']]}" if node["objtype"] in _GRANTED else None


def _is_about_tables(kind: str, node: Node) -> bool:
    """Return whether a statement is about a tenant's own tables, which may, say, join and leave a publication."""
    match kind:
        case "AlterDefaultPrivilegesStmt":
            return "schemas" in options(node)
        case "AlterPublicationStmt":
            return "options" not in node and node["action"] != "AP_SetObjects"
        case "ReindexStmt" | "VacuumStmt":
            return "relation" in node or "rels" in node
        case _:
            return False
