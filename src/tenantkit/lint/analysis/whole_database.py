"""Objects that exist once in a database or in a server, and belong to no tenant."""

from __future__ import annotations

import re

from tenantkit.lint.sql.expressions import functions
from tenantkit.lint.sql.statement import Statement
from tenantkit.lint.sql.tree import Node, options

_STATEMENTS = frozenset(
    """
    AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt AlterDefaultPrivilegesStmt AlterEventTrigStmt
    AlterExtensionContentsStmt AlterExtensionStmt AlterFdwStmt AlterForeignServerStmt AlterPublicationStmt
    AlterRoleSetStmt AlterRoleStmt AlterSubscriptionStmt AlterSystemStmt AlterTableSpaceOptionsStmt AlterUserMappingStmt
    CreateAmStmt CreateCastStmt CreateEventTrigStmt CreateExtensionStmt CreateFdwStmt CreateForeignServerStmt
    CreatePLangStmt CreatePublicationStmt CreateRoleStmt CreateSchemaStmt CreateSubscriptionStmt CreateTableSpaceStmt
    CreateTransformStmt CreateUserMappingStmt CreatedbStmt DropOwnedStmt DropRoleStmt DropSubscriptionStmt
    DropTableSpaceStmt DropUserMappingStmt DropdbStmt GrantRoleStmt GrantStmt ImportForeignSchemaStmt ReassignOwnedStmt
    ReindexStmt VacuumStmt
    """.split()  # noqa: SIM905 - as a list it would take a page
)
_SPELLED = {
    r"db(?=Stmt)": "Database",
    r"Am(?=Stmt)": "AccessMethod",
    r"Fdw": "ForeignDataWrapper",
    r"ForeignServer": "Server",
    r"PLang": "Language",
    r"TableSpace": "Tablespace",
    r"Trig(?=Stmt)": "Trigger",
    r"(?:RefreshColl|Set|Contents|Options)?Stmt$": "",
    r"(?<=[a-z])(?=[A-Z])": " ",
}
"""Replacements that turn the name of a statement into the words of SQL, in this order."""
_OBJECTS = {
    "OBJECT_FDW": "foreign data wrapper",
    "OBJECT_FOREIGN_SERVER": "server",
    **{
        f"OBJECT_{kind.upper()}": kind.replace("_", " ")
        for kind in (
            """
            access_method cast database event_trigger extension language publication role schema subscription tablespace
            transform
            """.split()  # noqa: SIM905 - as a list it would take a page
        )
    },
}
_VERBS = {
    "AlterOwnerStmt": ("alter", "objectType"),
    "CommentStmt": ("comment on", "objtype"),
    "DropStmt": ("drop", "removeType"),
    "RenameStmt": ("alter", "renameType"),
    "SecLabelStmt": ("security label on", "objtype"),
}
"""Statements about many kinds of objects, with the field that has the kind."""
_GRANTED = frozenset(f"OBJECT_{kind}" for kind in ("DATABASE", "FDW", "FOREIGN_SERVER", "SCHEMA", "TABLESPACE"))
_SLOTS = frozenset(f"pg_{verb}_replication_slot" for verb in ("create_logical", "create_physical", "drop"))


def about_database(statement: Statement) -> str | None:
    """Return the words of SQL for *statement* if it concerns an object that exists once in a database."""
    kind, node = statement.kind, statement.node
    if kind in _VERBS and node[_VERBS[kind][1]] in _OBJECTS:
        return f"{_VERBS[kind][0]} {_OBJECTS[node[_VERBS[kind][1]]]}"
    if kind in _STATEMENTS and not _is_about_tables(kind, node):
        return _spell(kind, node)
    return next((each for each in functions(node) if each in _SLOTS or each.startswith("cron.")), None)


def _spell(kind: str, node: Node) -> str:
    match kind:
        case "CreateRoleStmt":
            return f"create {node['stmt_type'].removeprefix('ROLESTMT_').lower()}"
        case "GrantRoleStmt" | "GrantStmt":
            on = f" on {_OBJECTS[node['objtype']]}" if "objtype" in node else ""
            return ("grant" if node.get("is_grant") else "revoke") + on
        case "VacuumStmt":
            return "vacuum" if node.get("is_vacuumcmd") else "analyze"
        case _:
            for pattern, words in _SPELLED.items():
                kind = re.sub(pattern, words, kind)
            return kind.lower()


def _is_about_tables(kind: str, node: Node) -> bool:
    """Return whether a statement concerns a tenant's own tables, for example as members of a publication."""
    match kind:
        case "AlterDefaultPrivilegesStmt":
            return "schemas" in options(node)
        case "AlterPublicationStmt":
            return "options" not in node and node["action"] != "AP_SetObjects"
        case "GrantStmt":
            return node["objtype"] not in _GRANTED
        case _:
            return "relation" in node or "rels" in node
