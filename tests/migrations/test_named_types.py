"""Each side makes its own types and sequences by its revisions, and autogenerate finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tenantkit import Tenancy
from tenantkit.migrations import migrate, revision, upgrade_shared
from tests.migrations.environments import Environment
from tests.migrations.shapes import shape
from tests.support import named_types

Make = Callable[..., Tenancy]

TENANTS = ("acme", "beta", "gamma")
WRAPPED = '''
class Decorated(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True
    def __init__(self, type_):
        super().__init__()
        self.impl = type_
S = {schema!r}
types = {{
    "bare": lambda type_: type_,
    "array": postgresql.ARRAY,
    "variant": lambda type_: sa.String().with_variant(type_, "postgresql"),
    "variant_of_array": lambda type_: sa.JSON().with_variant(sa.ARRAY(type_), "postgresql"),
    "decorator": Decorated,
    "array_of_decorator": lambda type_: sa.ARRAY(Decorated(type_)),
    "decorator_of_variant": lambda type_: Decorated(sa.String().with_variant(type_, "postgresql")),
}}
def columns(prefix):
    for name, wrap in types.items():
        yield sa.Column(f"{{prefix}}_{{name}}", wrap(sa.Enum("a", "b", name=f"{{prefix}}_{{name}}", schema=S)))
        pg = postgresql.ENUM("a", "b", name=f"{{prefix}}_pg_{{name}}", schema=S)
        yield sa.Column(f"{{prefix}}_pg_{{name}}", wrap(pg))
        domain = postgresql.DOMAIN(f"{{prefix}}_domain_{{name}}", sa.Text, schema=S)
        yield sa.Column(f"{{prefix}}_domain_{{name}}", wrap(domain))
'''
CREATE = 'op.create_table("note", sa.Column("id", sa.Integer), *columns("created"), schema="tenant")'
ADD = """
for column in columns("added"):
    op.add_column("note", column, schema="tenant")
"""
CHANGE = """
for column in columns("changed"):
    op.add_column("note", sa.Column(column.name, sa.Text), schema="tenant")
    array = "[]" if "array" in column.name else ""
    op.alter_column(
        "note", column.name, type_=column.type, schema="tenant", postgresql_using=f"NULL::{PREFIX}{column.name}{array}"
    )
"""
AGAIN = """
op.create_table("again", *columns("created"), *columns("added"), schema="tenant")
for column in columns("created"):
    op.create_table(f"again_{column.name}", column, schema="tenant")
"""


def expected_types(*prefixes: str) -> set[str]:
    names = "bare array variant variant_of_array decorator array_of_decorator decorator_of_variant".split()
    return {f"{prefix}_{kind}{name}" for prefix in prefixes for kind in ("", "pg_", "domain_") for name in names}


@pytest.mark.parametrize("schema", ["tenant", None, "shared"])
def test_a_revision_creates_the_types_of_its_own_side(
    schema: str | None, environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    head = WRAPPED.format(schema=schema) + f"PREFIX = {'shared.' if schema == 'shared' else ''!r}\n"
    if schema == "shared":
        # What carries a real schema is made by the shared side.
        common = head + 'op.create_table("common", *columns("created"), *columns("added"), schema="shared")\n'
        environment.add("common", common + 'op.create_table("other", *columns("changed"), schema="shared")', line="shared")
        upgrade_shared(migrated_tenancy())
    environment.add("one", head + CREATE)
    tenancy = migrated_tenancy()
    for key in TENANTS:
        tenancy.create(key)
    for number, code in enumerate((ADD, CHANGE, AGAIN)):
        environment.add(f"more{number}", head + code)
        migrate(migrated_tenancy(), jobs=1)
    migrated_tenancy().create("new")

    every = expected_types("created", "added", "changed")
    found = named_types.found(engine)
    tenants = {f"t_{key}" for key in (*TENANTS, "new")}
    assert found == ({"shared": every} if schema == "shared" else dict.fromkeys(tenants, every))
    with engine.begin() as connection:
        shapes = [shape(connection, each) for each in sorted(tenants)]
    assert shapes[1:] == shapes[:-1]
