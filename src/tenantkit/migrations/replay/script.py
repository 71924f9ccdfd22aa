"""What Alembic sent to one placement, in a form that can be sent to others: values, and the text made of them."""

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
"""The SQLSTATEs by which a script stops before it has done anything: another run is at work, or was."""

_VERSION_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {QUOTED_ALIAS}.alembic_version "
    "(version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));\n"
)
"""As Alembic creates it."""

_ASYNCHRONOUS = "SET LOCAL synchronous_commit = off;\n"
"""No tenant waits for the disk. What a server loses that crashes is whole tenants, each with its line in the ledger;
a run looks for them before it calls its work done (PostgreSQL, chapter 28.4)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One revision: its statements, and where they lead."""

    revision: str
    statements: tuple[str, ...]
    after: Heads


@dataclass(frozen=True, kw_only=True)
class Script:
    """What takes any placement from the revisions *before* to those *after*, in one transaction."""

    before: Heads
    steps: tuple[Step, ...]
    may_change_session: bool = False
    """Whether it may leave something in its session: a setting, a role, a temporary table with a tenant's rows."""
    touches_shared: bool = False
    """Whether it locks tables outside of its placement, so that others would wait for one another, or deadlock."""
    relations: int = 1
    """How many tables and indexes it uses, of which a backend remembers each."""

    @property
    def after(self) -> Heads:
        """Where it leads."""
        return self.steps[-1].after if self.steps else self.before

    def template(self, others: Sequence[str], limits: Limits, *, waits_for_disk: bool = False) -> Template:
        """Return the transaction for any placement whose statements also see the schemas *others*."""
        # A revision may set the path for its own purposes, so each begins with it. A statement may end with a comment.
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
        # A statement after the claim: the same one would not see what was committed just before it had the lock.
        expected = ", ".join(map(quote_literal, sorted(self.before)))
        found = f'ARRAY(SELECT version_num::text FROM {QUOTED_ALIAS}.alembic_version ORDER BY version_num COLLATE "C")'  # noqa: S608 - quoted
        guard = _unless(f"{found} = ARRAY[{expected}]::text[]", MOVED, "the tenant is at another revision by now")
        return guard if self.before else _VERSION_TABLE + guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A script's text, in pieces that are cut where the name of a placement's schema goes."""

    settings: str
    guard: tuple[str, ...]
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    """Each revision and its text."""
    end: tuple[str, ...]

    def render(self, schema: str, epilogue: str) -> str:
        """Return the whole transaction for one placement, to be sent as one string.

        *epilogue* is done last, in the same transaction.
        """
        return "".join(text for _, text in self.pieces(schema, epilogue))

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
