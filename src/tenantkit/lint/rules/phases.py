"""TK006: a revision of the phase expand removes or forbids what the running code uses or writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from tenantkit.lint.analysis import forbidding
from tenantkit.lint.analysis.additions import Additions, Value
from tenantkit.lint.analysis.outcomes import ANY, TRUE, outcomes
from tenantkit.lint.rules.rule import Problem, Rule
from tenantkit.lint.sql.tree import Node, find, name_of, parts, walk
from tenantkit.migrations.authoring.widening import takes_all

if TYPE_CHECKING:
    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql.actions import Action
    from tenantkit.lint.sql.statement import Statement

_USED = "relies on it"
_WRITTEN = "may write what it forbids"
_RENAMES = "renames an object that code uses by its name"

_OF_COLUMNS = {
    "AlterColumnType": "changes a column's type",
    "DropColumn": "drops a column",
    "DropExpression": "drops a default",
    "RenameColumn": _RENAMES,
}
"""Actions of ALTER TABLE that remove or change a column."""
_OF_TABLES = {
    "DetachPartition": "takes away the rows of a partition",
    "DetachPartitionFinalize": "takes away the rows of a partition",
    "RenameTable": _RENAMES,
    "SetSchema": "moves a table",
}
_HIDING = frozenset({"EnableRowSecurity", "ForceRowSecurity"})
_UNUSED = frozenset(f"OBJECT_{kind}" for kind in ("INDEX", "POLICY", "RULE", "STATISTIC_EXT"))
"""Kinds of objects that no code uses by their names."""
_NAMED = frozenset(
    f"OBJECT_{kind}"
    for kind in (
        "AGGREGATE ATTRIBUTE COLUMN DOMAIN FUNCTION MATVIEW PROCEDURE ROUTINE SEQUENCE TYPE VIEW".split()  # noqa: SIM905 - shorter
    )
)
_FORBIDS_IN_DOMAIN = frozenset({"C", "O"})
"""Kinds of ALTER DOMAIN: ADD CONSTRAINT and SET NOT NULL."""
_BEFORE, _INSTEAD, _OF_UPDATE = 2, 64, 16
"""Bits of PostgreSQL's type of a trigger."""
_ERROR = 21
"""The level of RAISE EXCEPTION."""


def contracts_while_expanding(revision: Revision) -> Iterator[Problem]:
    """Find statements that remove or forbid what the code from before the deployment uses or writes."""
    if revision.phase != "expand":
        return
    made = Additions(revision)
    for step, statement in revision.all_statements():
        for what, why in (*_of_statement(made, statement), *_of_table(made, step, statement)):
            or_else = ", or leave the phase out if no running code writes it" if why == _WRITTEN else ""
            yield Problem(
                step.lines,
                f"This {what}, but the revision's phase is expand: the code from before the deployment still runs "
                f"and {why}. Move it to a revision with phase = 'contract'{or_else}.",
            )
        if statement.creates is not None:
            made.tables.add(statement.creates.name)


def _of_statement(made: Additions, statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield the effects of a statement other than ALTER TABLE on running code, each with its reason."""
    if statement.kind == "DropStmt":
        kind, dropped = statement.node["removeType"], map(name_of, statement.node["objects"])
        is_own = kind in _UNUSED or all(each and made.replaces(kind, each.name) for each in dropped)
    else:
        is_own = any(name.name in made.tables for name in statement.changes)
    if not is_own:
        yield from ((what, _USED) for what in _taken_away(statement))
        if (what := _forbidden(made, statement)) is not None:
            yield what, _WRITTEN


def _taken_away(statement: Statement) -> Iterator[str]:
    kind, node = statement.kind, statement.node
    if any(_is_of_all_rows(each) for each in find({kind: node}, "DeleteStmt")):
        yield "empties a table"
    match kind:
        case _ if kind.startswith("Drop"):
            yield "drops an object that code uses"
        case "TruncateStmt":
            yield "empties a table"
        case "RenameStmt" if node["renameType"] in _NAMED and not statement.actions:
            yield _RENAMES
        case "AlterEnumStmt" if "oldVal" in node:
            yield _RENAMES
        case "AlterTableStmt" if node["objtype"] == "OBJECT_TYPE":
            if any(each["subtype"] != "AT_AddColumn" for each in find(node, "AlterTableCmd")):
                yield "changes a type"
        case "GrantStmt" | "GrantRoleStmt" if not node.get("is_grant"):
            yield "revokes privileges"
        case _:
            pass


def _is_of_all_rows(delete: Node) -> bool:
    where = delete.get("whereClause")
    return "usingClause" not in delete and (where is None or outcomes(where, lambda _: ANY) == TRUE)


def _forbidden(made: Additions, statement: Statement) -> str | None:
    node = statement.node
    what: str | None = None
    match statement.kind:
        case "AlterDomainStmt" if node["subtype"] in _FORBIDS_IN_DOMAIN:
            what = "forbids values of a domain"
        case "CreatePolicyStmt" if not node.get("permissive"):
            what = "forbids rows"
        case "RuleStmt" if node.get("instead"):
            what = "replaces statements on rows"
        case "IndexStmt" if node.get("unique"):
            what = made.examine(partial(forbidding.by_unique_index, made, node))
        case "CreateFunctionStmt" if node.get("replace"):
            what = _of_replaced(made, statement)
        case "CreateTrigStmt":
            what = _of_trigger(made, node)
        case _:
            pass
    return what


def _of_trigger(made: Additions, node: Node) -> str | None:
    """Return the effect of a trigger that refuses or drops rows of the running code; ``None`` for others."""
    only = parts(node.get("columns"))
    is_of_new = only and all(made.has(node["relation"]["relname"], column) for column in only)
    if node.get("timing") == _INSTEAD or (is_of_new and node["events"] == _OF_UPDATE):
        return None
    program = made.program_of(parts(node["funcname"])[-1])
    if _refuses(program):
        return "adds a trigger that refuses rows"
    return "adds a trigger that drops rows" if node.get("timing") == _BEFORE and _drops(program) else None


def _of_replaced(made: Additions, statement: Statement) -> str | None:
    """Return what a function does to rows that it did not do before, if triggers of earlier revisions execute it."""
    if not (_refuses(statement.program) or _drops(statement.program)):
        return None  # before earlier revisions are rendered
    own, earlier = made.triggers_of(parts(statement.node["funcname"])[-1])
    if own or not earlier:
        return None
    before = made.program_before(parts(statement.node["funcname"])[-1])
    if _refuses(statement.program) and not _refuses(before):
        return "makes a trigger refuse rows"
    is_before = any(each.get("timing") == _BEFORE for each in earlier)
    return "makes a trigger drop rows" if is_before and _drops(statement.program) and not _drops(before) else None


def _refuses(program: list[Node]) -> bool:
    raises = [each for each in find(program, "PLpgSQL_stmt_raise") if each["elog_level"] >= _ERROR]
    refuses = [each for each in raises if {"condname", "message", "options"} & each.keys()]  # others re-raise
    return bool(refuses) or any(find(program, "PLpgSQL_stmt_assert"))


def _drops(program: list[Node]) -> bool:
    returned = [each.get("expr") for each in find(program, "PLpgSQL_stmt_return")]
    return any(each and each["PLpgSQL_expr"]["query"].upper() == "NULL" for each in returned)


def _of_table(made: Additions, step: Step, statement: Statement) -> Iterator[tuple[str, str]]:
    """Yield the effects of an ALTER TABLE on running code, each with its reason."""
    if statement.altered_table is None:
        return
    table = statement.altered_table.name
    for action in statement.actions:
        if action.kind == "AddColumn":
            made.learn_action(table, action)
        found = [*_of_action(made, table, action, step)] if table not in made.tables else []
        if action.kind != "AddColumn":
            made.learn_action(table, action)
        if not found and (action.gives_default or action.takes_default):
            found = [(forbidden, _WRITTEN) for forbidden in made.examine_again()]
        yield from found


def _of_action(made: Additions, table: str, action: Action, step: Step) -> Iterator[tuple[str, str]]:
    if action.kind in _OF_COLUMNS or action.takes_default:
        is_wider = action.kind == "AlterColumnType" and takes_all(step.existing_type, action.column.type)
        if not made.has(table, action.name):
            if not is_wider:
                yield _OF_COLUMNS.get(action.kind, "drops a default"), _USED
        elif (action.takes_default or action.kind == "DropExpression") and made.required.get((table, action.name)):
            yield "leaves a new column without a default", _USED
    elif action.kind == "RenameTable" and made.has_view_instead(table):
        pass
    elif action.kind in _OF_TABLES:
        yield _OF_TABLES[action.kind], _USED
    elif (forbidden := _forbids(made, table, action)) is not None:
        yield forbidden, _WRITTEN


def _forbids(made: Additions, table: str, action: Action) -> str | None:
    """Return the effect of an action that forbids values of the running code; ``None`` for others."""
    match action.kind:
        case "AddIdentity" | "SetIdentity" if _is_always(action) and not made.has(table, action.name):
            return "forbids to write a column"
        case kind if kind in _HIDING:
            return "hides and forbids rows for which there is no policy"
        case "SetNotNull":
            return "forbids NULL" if made.value_of(table, action.name) in {Value.NULL, Value.WRITTEN} else None
        case "AddColumn":
            return made.examine(partial(forbidding.by_column, made, table, action.column))
        case _ if action.constraint is not None and not made.widens(table, action.constraint):
            return made.examine(partial(forbidding.by_constraint, made, table, action.constraint))
        case _:
            return None


def _is_always(action: Action) -> bool:
    """Return whether an identity is GENERATED ALWAYS."""
    return any(
        node.get("generated_when") == "a" or ("Integer" in node and node["Integer"].get("ival") == ord("a"))
        for node in walk(action.node)
    )


RULE = Rule("TK006", "an expanding revision removes or forbids what running code uses", contracts_while_expanding)
