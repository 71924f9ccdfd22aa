"""Textual SQL whose tables are those of the session's tenant, also where other text is forbidden."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import TextClause

from tenantkit.arguments import TEXT, require
from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import SCHEMAS
from tenantkit.postgres.sql_text import SQLText

if TYPE_CHECKING:
    from typing import LiteralString

PLACEHOLDER = "{tenant}"
"""The text in place of the tenant's schema."""

_KINDS = ("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE")
_BEGINNING = re.compile(rf"[\s(]*(?:{'|'.join(_KINDS)})\b", re.IGNORECASE)
_TOKEN = re.compile(r'\{tenant\}|"(?:[^"]|"")*"|(?<![\w$])[^\W\d][\w$]*|\S')
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_SETS_CONFIGURATION = re.compile(r"\bset_config\b", re.IGNORECASE)
_IMPLICIT = frozenset({"excluded", "old", "new"})
"""The names of rows that PostgreSQL gives in ON CONFLICT and RETURNING."""


class TenantText(TextClause):
    """A statement of `tenant_text`."""

    inherit_cache = True


def tenant_text(sql: LiteralString, *, schemas: Sequence[str] = ()) -> TextClause:
    """Return a statement like `sqlalchemy.text`, in which ``{tenant}`` stands for the schema of the session's tenant.

    Tenants' sessions execute it also with ``raw_sql="forbid"``. Values are bound parameters::

        session.execute(tenant_text("SELECT number FROM {tenant}.invoice WHERE id = :id"), {"id": 7})

    The text is one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES or TABLE, also after WITH. It does not call
    ``set_config()``. A name with a dot begins with ``{tenant}``, with one of *schemas*, or with a name that the text
    has elsewhere without a dot, such as an alias. This finds names that were written by mistake; it is no protection
    from text that others have written. So pass a constant, which type checkers require, too.

    :param schemas: the other schemas that the text may name, such as one of shared tables.
    :raises ConfigurationError: if the text is another one.
    """
    require(sql=(sql, TEXT), schemas=(schemas, SCHEMAS))
    for problem in _problems(sql, schemas):
        raise ConfigurationError(f"tenant_text() does not accept this SQL: {problem}.")
    return TenantText(sql)


def _problems(sql: str, schemas: Sequence[str]) -> Iterator[str]:
    text = SQLText(sql).bare
    if _BEGINNING.match(text) is None or ";" in text.rstrip("; \t\r\n"):
        yield f"it is not a single {', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
    if _SETS_CONFIGURATION.search(text):
        yield "it calls set_config(), which can change the search_path and the role"
    outside = _QUOTED.sub('""', text)
    rest = re.sub(r"\{tenant\}(?=\s*\.)", "", outside)
    if "{" in rest or "}" in rest:
        yield "a brace is not part of '{tenant}.', the only placeholder"
    if sql.count(PLACEHOLDER) != outside.count(PLACEHOLDER):
        yield (
            "'{tenant}' is in quotes or in a comment, where it would not be the schema; names in literals, as in "
            "nextval('invoice_no'), need no schema"
        )
    if unknown := _qualifiers(text) - {*schemas}:
        yield (
            f"{min(unknown)!r} before a dot is neither '{{tenant}}' nor an alias or a table of the text; if it is "
            f"a schema that all tenants share, pass schemas=[{min(unknown)!r}]"
        )


def _qualifiers(text: str) -> set[str]:
    """Return the names before a dot that the text does not have elsewhere."""
    known, qualifiers = {*_IMPLICIT}, set[str]()
    tokens = ["", "", *_TOKEN.findall(text), ""]
    for first, before, token, after in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if not (token.startswith('"') or token[:1].isidentifier()):
            continue
        if before != ".":
            (qualifiers if after == "." else known).add(_folded(token))
        elif first == PLACEHOLDER:
            known.add(_folded(token))
    return qualifiers - known


def _folded(name: str) -> str:
    """Return a name as PostgreSQL understands it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
