"""The statements of Alembic for one placement, in a form for all placements: values, and the text made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantkit.migrations.environment.alias import ALIAS, QUOTED_ALIAS
from tenantkit.postgres.advisory_locks import PLACEMENT
from tenantkit.postgres.quoting import quote_identifier, quote_literal, search_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tenantkit.migrations.graph.revision_graph import Heads
    from tenantkit.postgres.limits import Limits

BUSY, MOVED = "TK001", "TK002"
"""SQLSTATEs with which a script ends before any change: another run works on the placement, or has migrated it."""

_VERSION_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {QUOTED_ALIAS}.alembic_version "
    "(version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));\n"
)
"""Alembic's version table."""

_ASYNCHRONOUS = "SET LOCAL synchronous_commit = off;\n"
"""No tenant waits for the disk. A server that crashes loses whole tenants, each with its row in the ledger; a run looks
for them before it ends (PostgreSQL, chapter 28.4)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One revision: its statements, and the heads after them."""

    revision: str
    statements: tuple[str, ...]
    after: Heads


@dataclass(frozen=True, kw_only=True)
class Script:
    """The statements that take any placement from the heads *before* to the heads *after*, in one transaction."""

    before: Heads
    steps: tuple[Step, ...]
    may_change_session: bool = False
    """Whether it may leave state in its session: a setting, a role, a temporary table with a tenant's rows."""
    touches_shared: bool = False
    """Whether it locks tables outside of its placement, so that concurrent placements would wait or deadlock."""
    relations: int = 1
    """Number of tables and indexes that it uses. A backend caches each."""

    @property
    def after(self) -> Heads:
        """The heads after it."""
        return self.steps[-1].after if self.steps else self.before

    def template(self, others: Sequence[str], limits: Limits, *, waits_for_disk: bool = False) -> Template:
        """Return the transaction for any placement whose statements also see the schemas *others*."""
        # Each revision begins with the path, which the one before may have set. A statement may end with a comment.
        path = f"SET LOCAL search_path = {search_path(ALIAS, *others)}\n;\n"
        texts = [path + "".join(f"{statement}\n;\n" for statement in step.statements) for step in self.steps]
        revisions = [step.revision for step in self.steps]
        settings = limits.sql if waits_for_disk else limits.sql + _ASYNCHRONOUS
        return Template(
            settings=f"BEGIN;\n{settings}",
            guard=_cut(self._guard()),
            steps=tuple(zip(revisions, map(_cut, texts), strict=True)),
            end=_cut(_write_heads(self.before, self.after)),
        )

    def _guard(self) -> str:
        # A separate statement after the claim: its snapshot includes what was committed before the lock was granted.
        expected = ", ".join(map(quote_literal, sorted(self.before)))
        found = f'ARRAY(SELECT version_num::text FROM {QUOTED_ALIAS}.alembic_version ORDER BY version_num COLLATE "C")'  # noqa: S608 - quoted
        guard = _unless(f"{found} = ARRAY[{expected}]::text[]", MOVED, "the tenant is at another revision now")
        return guard if self.before else _VERSION_TABLE + guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The text of a script, split at the places for the name of a placement's schema."""

    settings: str
    guard: tuple[str, ...]
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    """Each revision and its text."""
    end: tuple[str, ...]

    def render(self, schema: str, epilogue: str) -> str:
        """Return the whole transaction for one placement, as one string.

        *epilogue* comes last, in the same transaction.
        """
        return "".join(text for _, text in self.pieces(schema, epilogue))

    def within(self, schema: str) -> str:
        """Return the statements for a transaction of the caller's, in which the placement was made."""
        parts = [self.guard, *(parts for _, parts in self.steps), self.end]
        return "".join(map(quote_identifier(schema).join, parts))

    def pieces(self, schema: str, epilogue: str) -> Iterator[tuple[str | None, str]]:
        """Yield the transaction piece by piece, each with its revision: the first and the last piece have none."""
        lock = PLACEMENT.format(schema=quote_literal(schema))
        claim = _unless(f"pg_try_advisory_xact_lock({lock})", BUSY, "another run is migrating this tenant")
        name = quote_identifier(schema)
        yield None, f"{self.settings}{claim}{name.join(self.guard)}"
        for revision, parts in self.steps:
            yield revision, name.join(parts)
        yield None, f"{name.join(self.end)}{epilogue};\nCOMMIT"


def _cut(text: str) -> tuple[str, ...]:
    return tuple(text.split(QUOTED_ALIAS))


def _unless(condition: str, sqlstate: str, message: str) -> str:
    refuse = f"tenantkit.refuse({quote_literal(sqlstate)}, {quote_literal(message)})"
    return f"SELECT CASE WHEN NOT {condition} THEN {refuse} END;\n"


def _write_heads(before: Heads, after: Heads) -> str:
    table = f"{QUOTED_ALIAS}.alembic_version"
    if len(before) == len(after) == 1:
        return f"UPDATE {table} SET version_num = {quote_literal(after[0])};\n"  # noqa: S608 - quoted
    rows = ", ".join(f"({quote_literal(revision)})" for revision in after)
    insert = f"INSERT INTO {table} VALUES {rows};\n" if rows else ""  # noqa: S608 - quoted
    return f"DELETE FROM {table};\n{insert}"  # noqa: S608 - quoted
