"""What a fleet suffers from, rule by rule. Each has a page in the documentation, under its code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sqlalchemy.exc import IdentifierError

from tenantkit.exceptions import as_clause
from tenantkit.lint.rules.contracting import contracts_while_expanding
from tenantkit.lint.rules.once import exists_once, once_a_database
from tenantkit.lint.rules.problem import Problem
from tenantkit.lint.rules.replaying import cannot_be_replayed, works_outside
from tenantkit.lint.rules.rewriting import rows_under_lock
from tenantkit.lint.sql import NAME, parse_name
from tenantkit.naming import MAX_IDENTIFIER_BYTES, first_lines
from tenantkit.postgres.sql_text import read_sql

if TYPE_CHECKING:
    from tenantkit.lint.revision import Revision
    from tenantkit.lint.sql import Name

_NOT_IN_TRANSACTION = re.compile(
    r"^(?:create (?:unique )?index|drop index|reindex .*?|alter table .* detach partition .*) concurrently\b"
    r"|^vacuum\b|^alter system\b|^(?:create|drop) (?:database|tablespace)\b"
)
_ADDS_KEY = re.compile(rf"^add (?:constraint ({NAME}) )?foreign key \( [^)]* \) references ({NAME})")
_ADDS_COLUMN_WITH_KEY = re.compile(rf"^add .*\breferences ({NAME})")
_HAS_DEFAULT = re.compile(r"\bdefault (?!null\b)|\bgenerated\b")
_VALIDATES = re.compile(rf"^validate constraint ({NAME})")
_CREATES_FUNCTION = re.compile(r"^create (?:or replace )?(?:function|procedure)\b")
_LOOKS_UP = re.compile(
    r"\b(?:from|join|insert into|delete from|merge into|truncate|(?:^|; |begin |then |else |loop )update) (?:only )?"
    r"(?!(?:only|select|lateral|unnest|generate_series|jsonb?_\w+)\b)([a-z_]\w*+|\"[^\"]+\")(?! ?[.(])"
)


def not_looked_at(revision: Revision) -> Iterator[Problem]:
    """TK000: it cannot be run without a database, so the other rules have not seen all of it."""
    for suspicion in revision.source.suspicions:
        if suspicion.kind == "connects":
            yield Problem(
                (suspicion.line,),
                f"upgrade() was not looked at, because {suspicion.reason}, which would reach a real database. "
                "Use op.execute().",
            )
    error = revision.first.error
    if error is None or isinstance(error, IdentifierError):
        return
    if revision.first.outside:
        why = f"because it {revision.first.outside[-1].what}, which was prevented. Do that last"
    else:
        said = as_clause(f"{type(error).__name__}: {error}")
        why = (
            f"because it fails without a database, where queries find nothing: {said}. If it misses a row, let "
            "it bear that"
        )
    yield Problem(revision.first.lines, f"upgrade() was not looked at from here on, {why}.")


def names_schema(revision: Revision) -> Iterator[Problem]:
    """TK001: what goes to every tenant names a schema."""
    if revision.scope != "tenant":
        return
    for step, statement in revision.statements():
        for schema in sorted(statement.schemas):
            if any(once_a_database(statement)):
                break  # which TK010 says
            if revision.schemas.is_expected(schema):
                continue
            if schema == revision.schemas.placeholder:
                what = f"The placeholder {schema!r} is not translated in text, and no schema is called so."
            elif revision.schemas.is_tenant_schema(schema):
                what = f"This names {schema!r}, the schema of one tenant: every tenant's migration would work there."
            else:
                what = f"This names the schema {schema!r}: every tenant's migration would work there."
            yield Problem(
                step.lines, f"{what} Write names in text without a schema: search_path leads to the tenant's."
            )


def wrong_line(revision: Revision) -> Iterator[Problem]:
    """TK002: a tenant revision changes shared tables, or a shared one those of tenants."""
    schemas = revision.schemas
    for step, statement in revision.all_statements():
        if revision.scope == "tenant":
            for name in filter(schemas.is_shared, statement.changes):
                yield Problem(
                    step.lines,
                    f"A tenant revision changes {name}, which is shared: each tenant's migration would do it again, "
                    "and wait for the others. Do it in a revision of the shared line.",
                )
        else:
            others = [name for name in statement.changes if schemas.is_of_tenants(name)]
            named = [
                name
                for name in sorted(statement.schemas if statement in step.statements else ())
                if name == schemas.placeholder or schemas.is_tenant_schema(name)
            ]
            if others or named:
                yield Problem(
                    step.lines,
                    f"A shared revision names {[*others, *named][0]}, which is the tenants': it runs once, in no "
                    "tenant's schema. Do it in a revision of the tenant line.",
                )


def key_is_checked(revision: Revision) -> Iterator[Problem]:
    """TK003: a foreign key to a shared table is checked row by row while that table is locked."""
    if revision.scope != "tenant":
        return
    added: set[str] = set()
    for step, statement in revision.all_statements():
        table = statement.altered_table
        if table is None or table.name in revision.created:
            continue
        for action in statement.actions:
            target, constraint = _key_to_shared(revision, action)
            if target is not None and "not valid" not in action:
                yield Problem(
                    step.lines,
                    f"Writes to {target} wait, for all tenants, while every row of {table.name} is checked against it. "
                    "Add the key with postgresql_not_valid=True, and validate it in a revision of its own.",
                )
            elif target is not None and constraint is not None:
                added.add(constraint)
            elif (found := _VALIDATES.match(action)) and found[1] in added and not step.in_autocommit_block:
                yield Problem(
                    step.lines,
                    f"{found[1]} is validated in the transaction that adds it, so the shared table stays locked "
                    "meanwhile. Validate it in a revision of its own.",
                )


def _key_to_shared(revision: Revision, action: str) -> tuple[Name | None, str | None]:
    """Return the shared table that a key is added to, and the key's name.

    A column that is added with a key but without a default holds nothing to check, and PostgreSQL knows it.
    """
    if found := _ADDS_KEY.match(action):
        target, constraint = parse_name(found[2]), found[1]
    elif (found := _ADDS_COLUMN_WITH_KEY.match(action)) and _HAS_DEFAULT.search(action):
        target, constraint = parse_name(found[1]), None
    else:
        return None, None
    return (target, constraint) if revision.schemas.is_shared(target) else (None, None)


def long_name(revision: Revision) -> Iterator[Problem]:
    """TK004: PostgreSQL would cut a name."""
    for step, statement in revision.statements():
        for name in statement.long_names:
            yield Problem(
                step.lines,
                f"{name!r} has {len(name.encode())} bytes, and PostgreSQL cuts names at {MAX_IDENTIFIER_BYTES}: two "
                "that begin alike clash, and no catalog query finds it by this name. Choose a shorter one.",
            )
    if isinstance(revision.first.error, IdentifierError):
        yield Problem(revision.first.lines, f"{as_clause(revision.first.error)}. Choose a shorter name.")


def mixed_steps(revision: Revision) -> Iterator[Problem]:
    """TK005: what cannot be taken back stands beside what can, or where it cannot run at all."""
    writing = [step for step in revision.steps if not all(each.text.startswith("select ") for each in step.statements)]
    alone = [step for step in writing if step.in_autocommit_block]
    others = [step for step in writing if not step.in_autocommit_block]
    for step in others:
        if read_sql(step.sql).ends_transaction:
            yield Problem(
                step.lines,
                "This ends the transaction, which is tenantkit's to do, and is refused. What must be committed by "
                "itself goes into op.get_context().autocommit_block().",
            )
        elif any(_NOT_IN_TRANSACTION.match(statement.text) for statement in step.all_statements):
            yield Problem(
                step.lines,
                "This cannot run in a transaction, and fails for every tenant. Put it into 'with "
                "op.get_context().autocommit_block():', in a revision of its own.",
            )
    if alone and others:
        yield Problem(
            alone[0].lines,
            f"This is committed by itself, together with what comes before it; line {others[0].lines[0]} belongs to "
            "the transaction. A tenant where one of them fails is left with half of the revision. Give the block a "
            "revision of its own.",
        )


def path_is_missing(revision: Revision) -> Iterator[Problem]:
    """TK008: a function looks names up where it is called, which is not where it was made."""
    for step, statement in revision.statements():
        is_made = _CREATES_FUNCTION.match(statement.text) and "set search_path" not in statement.text
        if is_made and (names := {found.strip('"') for found in _LOOKS_UP.findall(statement.body)}):
            yield Problem(
                step.lines,
                f"The function looks up {first_lines(names)} when it runs, and then search_path leads elsewhere. "
                "Create it with SET search_path FROM CURRENT.",
            )


RULES: dict[str, Callable[[Revision], Iterator[Problem]]] = {
    "TK000": not_looked_at,
    "TK001": names_schema,
    "TK002": wrong_line,
    "TK003": key_is_checked,
    "TK004": long_name,
    "TK005": mixed_steps,
    "TK006": contracts_while_expanding,
    "TK007": cannot_be_replayed,
    "TK008": path_is_missing,
    "TK009": rows_under_lock,
    "TK010": exists_once,
    "TK011": works_outside,
}
