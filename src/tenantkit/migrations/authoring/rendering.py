"""Rendering of expressions and defaults in generated revisions."""

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
    """Render expressions as text that has the models' meaning in a revision.

    No map translates text, so it names objects of the *placeholder* schema without a schema: when it is executed, the
    search_path finds the tenant's. Its percent signs are doubled when it is executed, not here.
    """
    render: Callable[..., str] = migration.impl.render_ddl_sql_expr

    def render_ddl_sql_expr(*args: Any, **options: Any) -> str:
        with as_text(migration.dialect, placeholder):
            rendered = without_schema(render(*args, **options), placeholder)
        return rendered if options.get("is_index") else escaped(rendered)  # others are written into `sa.text`

    migration.impl.render_ddl_sql_expr = render_ddl_sql_expr  # type: ignore[method-assign]


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Return the code for a default or a type that Alembic would not render correctly.

    Alembic removes a quote at either end of a string in ``server_default``. SQLAlchemy 2.0 shows the metadata of a
    named type, which a revision does not have. The function is for Alembic's ``render_item``, so it returns ``False``
    for all other items.
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
    """Return an expression, for example from the catalog, with its names written without *schema*.

    Strings stay unchanged, except names such as ``'tenant.ticket_seq'::regclass``.
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
    """Return *sql* for ``sa.text``: with backslashes if it would find parameters or escaped colons."""
    as_is = text(sql)
    is_same = not as_is._bindparams and str(as_is.compile()) == sql  # noqa: SLF001 - the parameters that it sees
    return sql if is_same else sql.replace(":", "\\:")


@contextmanager
def as_text(dialect: Dialect, placeholder: str | None) -> Generator[None]:
    """Render names of the schema *placeholder* without it, and percent signs unchanged, during a block.

    The dialect is the engine's, so this must not run beside other work in the process.
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
