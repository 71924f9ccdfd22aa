"""How expressions and defaults are written into generated revisions."""

from __future__ import annotations

import re
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, cast

from alembic.autogenerate.render import _repr_type  # pyright: ignore[reportUnknownVariableType]
from sqlalchemy import text
from sqlalchemy.types import SchemaType

from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from alembic.autogenerate.api import AutogenContext
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Dialect


def render_for_revisions(migration: MigrationContext, placeholder: str | None) -> None:
    """Have the text of expressions mean in a revision what the models mean.

    No map translates text, so it names objects of the *placeholder* schema without it: where it is executed, the
    search_path leads to the tenant's schema. And its percent signs are doubled when it is executed, not here.
    """
    render: Callable[..., str] = migration.impl.render_ddl_sql_expr

    def render_ddl_sql_expr(*args: Any, **options: Any) -> str:
        with as_text(migration.dialect, placeholder):
            rendered = without_schema(render(*args, **options), placeholder)
        return rendered if options.get("is_index") else escaped(rendered)  # the rest is written into `sa.text`

    migration.impl.render_ddl_sql_expr = render_ddl_sql_expr  # type: ignore[method-assign]


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Return what a revision has for a default or a type that Alembic would not write as it is meant.

    Of a string in ``server_default``, Alembic takes a quote at either end away. SQLAlchemy 2.0 shows the metadata of a
    named type, which a revision does not have. For Alembic's ``render_item``, so ``False`` for anything else.
    """
    value = getattr(item, "arg", item)
    if kind == "server_default" and isinstance(value, str):
        return repr(str(value))
    if kind == "type" and isinstance(item, SchemaType) and "metadata=" in repr(item):
        bare: Any = copy(item)
        bare.metadata = None
        rendered: str = _repr_type(bare, context)
        return rendered
    return False


def without_schema(sql: str, schema: str | None) -> str:
    """Return an expression, as it may come from the catalog, whose names are written without *schema*.

    Strings stay as they are, but for those that are names: ``'tenant.ticket_seq'::regclass``.
    """
    if schema is None:
        return sql
    prefix = rf"(?:{re.escape(quote_identifier(schema))}|(?i:{re.escape(schema)}))\."
    parts = re.compile(
        rf"""
        '{prefix}(?P<name>[^']*'::reg\w+)
        | (?P<literal> (?<!\w)[Ee]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' )
        | (?<![\w.$"]){prefix}(?=["\w])
        """,
        re.VERBOSE | re.DOTALL,
    )
    return parts.sub(lambda found: found["literal"] or (f"'{found['name']}" if found["name"] else ""), sql)


def escaped(sql: str) -> str:
    """Return what ``sa.text`` takes for *sql*: with backslashes if it would see parameters, or escaped colons."""
    as_is = text(sql)
    is_same = not as_is._bindparams and str(as_is.compile()) == sql  # noqa: SLF001 - the parameters that it sees
    return sql if is_same else sql.replace(":", "\\:")


@contextmanager
def as_text(dialect: Dialect, placeholder: str | None) -> Generator[None]:
    """Have names of the schema *placeholder* rendered without it, and percent signs as they are.

    The dialect is the engine's, so this is for a command that is alone in its process.
    """
    preparer = dialect.identifier_preparer
    before: Any = preparer.schema_for_object
    doubled = preparer._double_percents  # noqa: SLF001 - else they are doubled for the driver

    def schema_for_object(item: Any) -> str | None:
        return None if item.schema == placeholder else before(item)

    preparer.schema_for_object = cast("Any", schema_for_object)
    preparer._double_percents = False  # noqa: SLF001 - there is no public way
    try:
        yield
    finally:
        preparer.schema_for_object = before
        preparer._double_percents = doubled  # noqa: SLF001 - there is no public way
