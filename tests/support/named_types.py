"""Columns of every named type, bare and inside every construct that a column's type may be wrapped in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, JSON, Column, Engine, Enum, Integer, MetaData, String, Table, Text, TypeDecorator, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine


def _enum(name: str, **options: Any) -> TypeEngine[Any]:
    return Enum("a", "b", name=name, **options)


def _pg_enum(name: str, **options: Any) -> TypeEngine[Any]:
    return postgresql.ENUM("a", "b", name=name, **options)


def _domain(name: str, **options: Any) -> TypeEngine[Any]:
    return postgresql.DOMAIN(name, Text(), check="VALUE <> ''", **options)


KINDS: dict[str, Callable[..., TypeEngine[Any]]] = {"enum": _enum, "pg_enum": _pg_enum, "domain": _domain}


def decorated(type_: TypeEngine[Any]) -> TypeDecorator[Any]:
    """Return a TypeDecorator around *type_*."""

    class Decorated(TypeDecorator[Any]):
        impl = type_
        cache_ok = True

    return Decorated()


class Wrapper(NamedTuple):
    wrap: Callable[[TypeEngine[Any]], TypeEngine[Any]]
    value: Any


WRAPPERS = {
    "bare": Wrapper(lambda type_: type_, "a"),
    "array": Wrapper(ARRAY, ["a", "b"]),
    "pg_array": Wrapper(lambda type_: postgresql.ARRAY(type_, dimensions=1), ["a", "b"]),
    "variant": Wrapper(lambda type_: String().with_variant(type_, "postgresql"), "a"),
    "variant_of_array": Wrapper(lambda type_: JSON().with_variant(ARRAY(type_), "postgresql"), ["a", "b"]),
    "decorator": Wrapper(decorated, "a"),
    "nested_decorator": Wrapper(lambda type_: decorated(decorated(type_)), "a"),
    "array_of_decorator": Wrapper(lambda type_: ARRAY(decorated(type_)), ["a", "b"]),
    "variant_of_decorator": Wrapper(lambda type_: String().with_variant(decorated(type_), "postgresql"), "a"),
    "decorator_of_variant": Wrapper(
        lambda type_: decorated(String().with_variant(postgresql.ARRAY(type_), "postgresql")), ["a", "b"]
    ),
}

COMBINATIONS = [(kind, wrapper) for kind in KINDS for wrapper in WRAPPERS]
WRITTEN = [(kind, wrapper) for kind, wrapper in COMBINATIONS if kind != "domain" and "decorator" not in wrapper]
"""Those that Alembic can write into a revision."""

Combinations = list[tuple[str, str]]


def names(side: str, among: Combinations = COMBINATIONS) -> set[str]:
    """Return the names of the types that `columns` of *side* need."""
    return {f"{side}_{kind}_{wrapper}" for kind, wrapper in among}


def columns(side: str, among: Combinations = COMBINATIONS, **options: Any) -> list[Column[Any]]:
    """Return a column for each combination; *options* are those of the types."""
    return [
        Column(f"{kind}_{wrapper}", WRAPPERS[wrapper].wrap(KINDS[kind](f"{side}_{kind}_{wrapper}", **options)))
        for kind, wrapper in among
    ]


def row() -> dict[str, Any]:
    """Return a row of a table with `columns`."""
    return {f"{kind}_{wrapper}": WRAPPERS[wrapper].value for kind, wrapper in COMBINATIONS}


def table(metadata: MetaData, name: str, side: str, *, in_schema: str | None, **options: Any) -> Table:
    """Declare a table of `columns`."""
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns(side, **options), schema=in_schema)


def found(engine: Engine) -> dict[str, set[str]]:
    """Return the names of the ENUM and DOMAIN types and of the sequences, by schema."""
    query = text(
        """
        SELECT nspname, array_agg(name::text) FROM (
            SELECT typnamespace AS space, typname AS name FROM pg_type WHERE typtype IN ('e', 'd')
            UNION ALL
            SELECT relnamespace, relname FROM pg_class WHERE relkind = 'S' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i') AND classid = 'pg_class'::regclass
            )
        ) AS object JOIN pg_namespace ON pg_namespace.oid = space
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'tenantkit') GROUP BY nspname
        """
    )
    with engine.connect() as connection:
        return {schema: set(objects) for schema, objects in connection.execute(query)}
