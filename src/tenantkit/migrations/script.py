"""What Alembic sent to one placement, in a form that can be sent to others: values, and the text made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tenantkit.naming import quote_identifier, quote_literal, search_path

if TYPE_CHECKING:
    from tenantkit.migrations.environment import Site
    from tenantkit.migrations.lines import Heads

ALIAS = "TK_3f9a51c7_PLACEMENT"
"""What recorded statements call the schema of their placement. It has capitals, so it is always quoted."""
QUOTED_ALIAS = quote_identifier(ALIAS)

BUSY, MOVED = "TK001", "TK002"
"""The SQLSTATEs by which a script stops before it has done anything: another run is at work, or was."""

_VERSION_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {QUOTED_ALIAS}.alembic_version "
    "(version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));\n"
)
"""As Alembic creates it."""

CLAIM = "hashtext('tenantkit migration'), hashtext({schema})"
"""The advisory lock that a run holds while it migrates a schema. It is gone with its connection or transaction."""


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
    touches_shared: bool = False
    """Whether it locks tables outside of its placement, so that others would wait for one another, or deadlock."""

    @property
    def after(self) -> Heads:
        """Where it leads."""
        return self.steps[-1].after if self.steps else self.before

    @cached_property
    def _text(self) -> str:
        # A revision may set the path for its own purposes, so each begins with it. A statement may end with a comment.
        path = f"SET LOCAL search_path = {QUOTED_ALIAS}__PATH__\n;\n"
        return "".join(
            path + "".join(f"{statement}\n;\n" for statement in step.statements) for step in self.steps
        ) + _write_heads(self.before, self.after)

    def render(self, site: Site, *, lock_timeout: str, statement_timeout: str | None, epilogue: str) -> str:
        """Return the whole transaction for one placement, to be sent as one string.

        *epilogue* is done last, in the same transaction.
        """
        others = search_path(site.schema, *site.others).removeprefix(quote_identifier(site.schema))
        body = self._text.replace(f"{QUOTED_ALIAS}__PATH__", QUOTED_ALIAS + others)
        settings = f"SET LOCAL lock_timeout = {quote_literal(lock_timeout)};\n"
        if statement_timeout is not None:
            settings += f"SET LOCAL statement_timeout = {quote_literal(statement_timeout)};\n"
        schema = quote_literal(site.schema)
        expected = ", ".join(map(quote_literal, sorted(self.before)))
        guard = f"""DO $tenantkit$ BEGIN
IF NOT pg_try_advisory_xact_lock({CLAIM.format(schema=schema)}) THEN
    RAISE EXCEPTION 'another run is migrating this tenant' USING ERRCODE = '{BUSY}';
END IF;
IF (SELECT coalesce(array_agg(version_num::text ORDER BY version_num), '{{}}') FROM {QUOTED_ALIAS}.alembic_version)
    <> ARRAY[{expected}]::text[] THEN
    RAISE EXCEPTION 'the tenant is at another revision by now' USING ERRCODE = '{MOVED}';
END IF;
END $tenantkit$;
"""  # noqa: S608 - quoted
        if not self.before:
            guard = _VERSION_TABLE + guard
        return (
            "BEGIN;\n"
            + settings
            + (guard + body).replace(QUOTED_ALIAS, quote_identifier(site.schema))
            + (f"{epilogue};\nCOMMIT")
        )


def _write_heads(before: Heads, after: Heads) -> str:
    table = f"{QUOTED_ALIAS}.alembic_version"
    if len(before) == len(after) == 1:
        return f"UPDATE {table} SET version_num = {quote_literal(after[0])};\n"  # noqa: S608 - quoted
    rows = ", ".join(f"({quote_literal(revision)})" for revision in after)
    insert = f"INSERT INTO {table} VALUES {rows};\n" if rows else ""  # noqa: S608 - quoted
    return f"DELETE FROM {table};\n{insert}"  # noqa: S608 - quoted
