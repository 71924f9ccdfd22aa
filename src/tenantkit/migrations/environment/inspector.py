"""Translation of the placeholder in reflection by revisions.

SQLAlchemy's ``schema_translate_map`` does not reach the inspector. Its queries compare the name of the schema with
``pg_namespace.nspname``: that parameter gets the real name, and the results get the placeholder.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, event
from sqlalchemy.dialects.postgresql.base import PGInspector

from tenantkit.migrations.catalog.queries import require_schema
from tenantkit.sessions.transactions import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from tenantkit.isolation.target import MigrationTarget

_COMPARED = "nspname_"
"""The prefix of SQLAlchemy's name for a parameter that is compared with the name of a schema."""


class _Inspector(PGInspector):
    """An inspector of one connection's dialect, where SQLAlchemy's takes the engine's."""

    # SQLAlchemy's assignment is ignored.
    dialect: Any = property(lambda self: self.bind.dialect, lambda _self, _value: None)


@contextmanager
def inspecting(connection: Connection, target: MigrationTarget, alias: str) -> Generator[None]:
    """Make reflection on *connection* find the tenant's schema during a block.

    It is the default schema too, as for an application whose role has the tenant's ``search_path``.

    :param alias: another name by which statements may know the schema.
    """
    names = {target.placeholder, alias, target.schema} - {None} if target.translates else set[str | None]()

    def before_cursor_execute(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, context: Any, *_many: bool
    ) -> tuple[str, Any]:
        # SQLAlchemy's own queries only: a schema in text is taken literally.
        if not isinstance(getattr(context.compiled, "statement", None), Select):
            if INTERNAL not in context.execution_options:
                require_schema(statement)
        elif isinstance(parameters, dict):
            parameters = _with_schema(parameters, names, target.schema)  # pyright: ignore[reportUnknownArgumentType]
        return statement, parameters

    dialect = connection.dialect
    connection.dialect = _dialect(dialect, target, names)
    event.listen(connection, "before_cursor_execute", before_cursor_execute, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", before_cursor_execute)
        connection.dialect = dialect


def _with_schema(parameters: dict[str, Any], names: AbstractSet[str | None], schema: str) -> dict[str, Any]:
    return {key: schema if key.startswith(_COMPARED) and value in names else value for key, value in parameters.items()}


def _dialect(dialect: Any, target: MigrationTarget, names: AbstractSet[str | None]) -> Any:
    """Return a copy of *dialect*, which is the engine's, for one connection and target."""
    own: Any = copy(dialect)
    own.inspector = _Inspector
    own.default_schema_name = target.schema if target.is_visible else "pg_temp"

    def get_multi_foreign_keys(connection: Connection, schema: str | None, **options: Any) -> Any:
        real = target.schema if schema in names else schema
        found = dialect.get_multi_foreign_keys(connection, schema=real, **options)
        for (_, table), keys in found:
            for key in keys:
                if key["referred_schema"] in names:
                    key["referred_schema"] = target.placeholder
            yield (schema, table), keys

    def renamed(
        load: Callable[..., list[Any]], connection: Connection, schema: str | None = None, **options: Any
    ) -> Any:
        return [
            each | ({"schema": target.placeholder} if target.placeholder and {schema, each["schema"]} <= names else {})
            for each in load(connection, schema, **options)
        ]

    own.get_multi_foreign_keys = get_multi_foreign_keys
    own._load_enums = partial(renamed, dialect._load_enums)  # noqa: SLF001 - what the inspector calls
    own._load_domains = partial(renamed, dialect._load_domains)  # noqa: SLF001 - what the inspector calls
    return own
