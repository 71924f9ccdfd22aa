"""The revisions of each side create its types and sequences, and autogenerate finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tenantkit import Tenancy
from tenantkit.migrations import downgrade, migrate, revision, upgrade_shared
from tests.migrations.environments import Environment
from tests.migrations.shapes import shape
from tests.support import named_types

Make = Callable[..., Tenancy]

TENANTS = ("acme", "beta", "gamma")
WRAPPED = """
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
"""
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
    names = ["bare", "array", "variant", "variant_of_array", "decorator", "array_of_decorator", "decorator_of_variant"]
    return {f"{prefix}_{kind}{name}" for prefix in prefixes for kind in ("", "pg_", "domain_") for name in names}


@pytest.mark.all_cases
@pytest.mark.parametrize("schema", ["tenant", pytest.param(None, marks=pytest.mark.all_cases), "shared"])
def test_a_revision_creates_the_types_of_its_own_side(
    schema: str | None, environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    head = WRAPPED.format(schema=schema) + f"PREFIX = {'shared.' if schema == 'shared' else ''!r}\n"
    if schema == "shared":
        # The shared side creates types with a real schema.
        common = head + 'op.create_table("common", *columns("created"), *columns("added"), schema="shared")\n'
        environment.add(
            "common", common + 'op.create_table("other", *columns("changed"), schema="shared")', line="shared"
        )
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


def declare(kind: str, placeholder: str | None) -> tuple[sa.MetaData, sa.MetaData]:
    """Declare tables of both sides with types and sequences; return the shared metadata and the tenants'."""
    tenant = sa.MetaData(schema=placeholder if kind != "one without schema" else None)
    shared = sa.MetaData(schema="common") if kind == "two" else tenant

    def table(metadata: sa.MetaData, in_schema: str | None, name: str, **options: Any) -> sa.Table:
        id_ = sa.Column("id", sa.Integer, primary_key=True)
        return sa.Table(
            name, metadata, id_, *named_types.columns(name, named_types.WRITTEN, **options), schema=in_schema
        )

    table(shared, "common", "shared_real", schema="common")
    table(shared, "common", "shared_bare")
    table(tenant, placeholder, "tenant_real", schema="common")
    table(tenant, placeholder, "tenant_named", schema=placeholder)
    note = table(tenant, placeholder, "tenant_bare")
    mood = sa.Enum("good", "bad", name="mood", schema=placeholder)
    good = sa.cast("good", mood)
    ticket = sa.Sequence("ticket_seq", metadata=tenant, start=10, schema=placeholder)
    note.append_column(sa.Column("ticket", sa.Integer, server_default=ticket.next_value()))
    note.append_column(sa.Column("number", sa.Integer, sa.Sequence("Note id")))
    note.append_column(sa.Column("common", sa.Integer, sa.Sequence("common_id", schema="common")))
    note.append_column(sa.Column("mood", mood, server_default=good))
    note.append_column(sa.Column("words", sa.Text, server_default="it's 5% : off, \\ %(s)s"))
    note.append_column(sa.Column("is_good", sa.Boolean, sa.Computed(note.c.mood == good, persisted=True)))
    note.append_constraint(sa.CheckConstraint(note.c.mood == good, name="ck_good"))
    sa.Index("ix_good", note.c.id, sa.func.coalesce(note.c.mood, good), postgresql_where=note.c.mood == good)
    return shared, tenant


@pytest.mark.all_cases
@pytest.mark.parametrize("metadata", ["one", "one without schema", "two", "no placeholder"])
@pytest.mark.filterwarnings("ignore:Computed default on tenant_bare.is_good cannot be modified")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_autogenerate_writes_the_types_and_sequences_of_each_side(
    metadata: str, environment: Environment, make_tenancy: Make, empty_database: sa.URL
) -> None:
    placeholder = None if metadata == "no placeholder" else "tenant"
    shared, tenant = declare(metadata, placeholder)

    def make(**options: Any) -> Tenancy:
        declared = {"shared": None if shared is tenant else shared, "tenant": tenant, "placeholder": placeholder}
        return make_tenancy(database=empty_database, **declared, **options)

    tenancy = make(migrations=environment.folder)
    assert revision(tenancy, "shared", shared=True, autogenerate=True)
    upgrade_shared(tenancy)
    first = revision(tenancy, "first", autogenerate=True)
    assert first is not None
    tenancy.install()
    for key in TENANTS:
        tenancy.create(key)
    for shared_too in (True, False):
        again = revision(tenancy, "again", shared=shared_too, autogenerate=True)
        assert again is None, again.read_text()
    plain = make()
    plain.create("twin")

    own = set().union(*(named_types.names(name, named_types.WRITTEN) for name in ("tenant_bare", "tenant_named")))
    own |= {"ticket_seq", "Note id", "mood"}
    common = set().union(
        *(named_types.names(name, named_types.WRITTEN) for name in ("tenant_real", "shared_real", "shared_bare"))
    )
    schemas = [f"t_{key}" for key in (*TENANTS, "twin")]
    assert named_types.found(tenancy.engine) == {"common": common | {"common_id"}, **dict.fromkeys(schemas, own)}
    with tenancy.engine.begin() as connection:
        shapes = [[line for line in shape(connection, schema) if "alembic_version" not in line] for schema in schemas]
    assert shapes[1:] == shapes[:-1]

    plain.drop("twin")
    schemas.remove("t_twin")
    environment.add("last", "pass", after=first.stem.split("_")[0])
    tenancy = make(migrations=environment.folder)
    migrate(tenancy, jobs=1)
    for _ in range(2):
        downgrade(tenancy, "base", jobs=1)
        assert set(named_types.found(tenancy.engine)) == {"common"}
        migrate(tenancy, jobs=1)
        assert named_types.found(tenancy.engine) == {"common": common | {"common_id"}, **dict.fromkeys(schemas, own)}


@pytest.mark.parametrize("placeholder", ["tenant", None])
def test_a_new_sequence_and_a_new_default_are_found_once(
    placeholder: str | None, environment: Environment, make_tenancy: Make, engine: Engine
) -> None:
    tenant = sa.MetaData(schema=placeholder)
    note = sa.Table("note", tenant, sa.Column("id", sa.Integer, primary_key=True), sa.Column("number", sa.Integer))

    def make() -> Tenancy:
        return make_tenancy(shared=sa.MetaData(), tenant=tenant, placeholder=placeholder, migrations=environment.folder)

    assert revision(make(), "first", autogenerate=True)
    make().create("acme")
    ticket = sa.Sequence("ticket_seq", metadata=tenant, start=5)
    sa.Sequence("nothing", metadata=tenant, optional=True)
    note.c.number.server_default = sa.DefaultClause(ticket.next_value())
    assert revision(make(), "second", autogenerate=True)
    assert revision(make(), "again", autogenerate=True) is None
    tenancy = make()
    for _ in range(2):
        migrate(tenancy, jobs=0)
        assert named_types.found(engine)["t_acme"] == {"ticket_seq"}
        with tenancy.session("acme") as session:
            assert session.scalar(note.insert().returning(note.c.number)) == 5
        downgrade(tenancy, "-1", jobs=0)
        assert "t_acme" not in named_types.found(engine)
