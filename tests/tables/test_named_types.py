"""Each side creates its own types and sequences when tables are created from the metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Computed,
    Engine,
    Enum,
    Index,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    Text,
    case,
    cast,
    event,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import SchemaType, UserDefinedType

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.lifecycle.builders import make_shared_tables
from tests.support import named_types
from tests.support.catalog import structure

Make = Callable[..., Tenancy]

TENANTS = ("acme", "beta")
PLACES = {
    "tenant_bare": ("note", {}),
    "tenant_named": ("label", {"schema": "tenant"}),
    "tenant_real": ("badge", {"schema": "common"}),
    "shared_real": ("plan", {"schema": "common"}),
    "shared_bare": ("country", {}),
}
"""For each way to declare a type: a table that uses it, and the schema that the type declares."""


def declare(kind: str) -> tuple[MetaData | None, MetaData]:
    """Declare tables of both sides with types of every kind; return the shared metadata, if any, and the tenants'."""
    tenant = MetaData(schema="tenant" if kind != "one without schema" else None)
    shared = MetaData(schema="common") if kind == "two" else tenant
    for side, (name, options) in PLACES.items():
        metadata, schema = (shared, "common") if side.startswith("shared") else (tenant, "tenant")
        named_types.table(metadata, name, side, in_schema=schema, **options)
    # A type with the name of another column's type.
    extra = named_types.KINDS["enum"]("tenant_bare_enum_bare")
    Table("again", tenant, Column("kind", extra), Column("id", Integer, Sequence("again_id")), schema="tenant")
    Table("more", tenant, Column("id", Integer, Sequence("again_id")), schema="tenant")
    Table("common_number", tenant, Column("id", Integer, Sequence("common_id", schema="common")), schema="tenant")
    Sequence("ticket_seq", metadata=tenant)
    Enum("x", "y", name="free_standing", metadata=tenant)
    return (None if shared is tenant else shared), tenant


def create_shared(engine: Engine, shared: MetaData | None, tenant: MetaData) -> None:
    """Create the shared tables as an application does, with SQLAlchemy alone, twice."""
    metadata = shared or tenant
    for _ in range(2):
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS common")
            metadata.create_all(
                connection, tables=[each for each in metadata.tables.values() if each.schema == "common"]
            )


@pytest.mark.parametrize("metadata", ["one", "one without schema", "two"])
def test_each_side_creates_its_own_types_and_sequences(metadata: str, make_any_tenancy: Any, engine: Engine) -> None:
    shared, tenant = declare(metadata)
    tenancy = make_any_tenancy(shared=shared, tenant=tenant)
    create_shared(engine, shared, tenant)
    for key in TENANTS:
        tenancy.create(key)

    found = named_types.found(engine)
    own = named_types.names("tenant_bare") | named_types.names("tenant_named")
    common = named_types.names("tenant_real") | named_types.names("shared_real") | {"common_id"}
    unnamed = named_types.names("shared_bare")
    if metadata == "one without schema":
        assert found.pop("public") == unnamed
    else:
        common |= unnamed
    assert found == {
        "common": common,
        **{f"t_{key}": own | {"again_id", "ticket_seq", "free_standing"} for key in TENANTS},
    }
    tables = (shared or tenant).tables | tenant.tables
    for key in TENANTS:
        with tenancy.session(key) as session:
            for side, (name, _) in PLACES.items():
                if side == "shared_bare" and metadata == "one without schema":
                    continue
                table = tables[f"{'common' if side.startswith('shared') else 'tenant'}.{name}"]
                session.execute(table.insert().values(named_types.row()))
                for column, value in named_types.row().items():
                    if column.startswith("domain"):  # SQLAlchemy 2.1.9 warns when it compares one
                        continue
                    query = select(func.count()).where(table.c[column] == value)
                    assert session.scalar(query) == session.scalar(select(func.count()).select_from(table)), column
            session.commit()


@pytest.mark.parametrize("schema", ["common", None])
@pytest.mark.parametrize("same_engine", [True, False])
def test_shared_tables_may_be_created_before_the_tenancy(
    schema: str | None, same_engine: bool, make_tenancy: Make, engine: Engine
) -> None:
    metadata = MetaData()
    level = Enum("low", "high", name="level", schema=schema)
    plan = Table("plan", metadata, Column("id", Integer, primary_key=True), Column("level", level), schema="common")
    state = String().with_variant(postgresql.ENUM("a", "b", name="state"), "postgresql")
    note = Table(
        "note",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("level", Enum("low", "high", name="level", schema="common") if schema else Integer),
        Column("state", state),
        schema="tenant",
    )
    create_shared(engine, None, metadata)
    tenancy = make_tenancy(shared=None, tenant=metadata, **({"database": engine} if same_engine else {}))
    for key in TENANTS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            session.execute(note.insert().values(level="low" if schema else 1, state="a"))
            assert session.scalars(select(note.c.id).where(note.c.state == "a")).all() == [1]
            session.commit()
    with tenancy.shared_session() as session:
        session.execute(plan.insert().values(level="high"))
        assert session.scalars(select(plan.c.id).where(plan.c.level == "high")).all() == [1]
    found = named_types.found(engine)
    assert "level" in found["common" if schema else "public"]
    assert [found[f"t_{key}"] for key in TENANTS] == [{"state"}] * 2


@pytest.mark.parametrize("metadata", ["one", "one without schema", "two"])
@pytest.mark.parametrize("wrapper", named_types.WRAPPERS)
@pytest.mark.parametrize("kind", named_types.KINDS)
def test_one_type_object_without_a_schema_cannot_be_on_both_sides(kind: str, wrapper: str, metadata: str) -> None:
    def declare(**options: Any) -> tuple[MetaData, MetaData]:
        shared = MetaData()
        tenant = MetaData(schema=None if metadata == "one without schema" else "tenant")
        type_ = named_types.KINDS[kind]("mood", **options)
        wrap = named_types.WRAPPERS[wrapper].wrap
        Table("plan", shared if metadata == "two" else tenant, Column("m", wrap(type_)), schema="common")
        Table("note", tenant, Column("m", wrap(type_)), schema="tenant")
        return (shared if metadata == "two" else tenant), tenant

    shared, tenant = declare()
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match="The type of tenant.note and common.plan is one object .*'mood', schema="
        ):
            Tenancy("postgresql+psycopg://nobody@127.0.0.1:1/nowhere", shared=shared, tenant=tenant)
    shared, tenant = declare(schema="common")
    Tenancy("postgresql+psycopg://nobody@127.0.0.1:1/nowhere", shared=shared, tenant=tenant).close()


def test_a_type_without_a_name_in_postgresql_may_be_on_both_sides() -> None:
    metadata = MetaData()
    mood = Enum("a", "b", name="mood", native_enum=False)
    Table("plan", metadata, Column("m", mood), schema="common")
    Table("note", metadata, Column("m", mood), schema="tenant")
    Tenancy("postgresql+psycopg://nobody@127.0.0.1:1/nowhere", tenant=metadata).close()


@pytest.mark.parametrize("placeholder", ["tenant", None])
def test_expressions_in_tables_name_the_tenants_own_objects(
    placeholder: str | None, make_any_tenancy: Any, engine: Engine
) -> None:
    metadata = MetaData(schema=placeholder)
    mood = Enum("good", "bad", name="mood", schema=placeholder)
    ticket = Sequence("ticket_seq", metadata=metadata, start=10)
    good = cast("good", mood)
    note = Table(
        "note",
        metadata,
        Column("id", Integer, Sequence("note_id"), primary_key=True),
        Column("ticket", Integer, server_default=ticket.next_value()),
        Column("mood", mood, server_default=good),
    )
    note.append_column(Column("word", Text, Computed(case((note.c.mood == good, "yes"), else_="no"), persisted=True)))
    note.append_constraint(CheckConstraint(or_(note.c.mood == good, note.c.ticket > 0), name="ck_mood"))
    Index("ix_mood", func.coalesce(note.c.mood, good), postgresql_where=note.c.mood == good)
    tenancy = make_any_tenancy(shared=None, tenant=metadata, placeholder=placeholder)
    for key in TENANTS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            for _ in range(2):
                session.execute(note.insert())
            assert session.execute(select(note)).all() == [(number, 9 + number, "good", "yes") for number in (1, 2)]
            assert session.scalar(ticket) == 12
            session.commit()
    assert structure(engine, "public") == []
    assert structure(engine, "t_acme") == structure(engine, "t_beta")


def test_a_composite_type_that_the_application_creates_by_an_event_is_each_tenants_own(
    make_any_tenancy: Any, engine: Engine
) -> None:
    class Composite(SchemaType, UserDefinedType[Any]):
        cache_ok = True

        def get_col_spec(self, **_: Any) -> str:
            return str(self.name)

    metadata = MetaData(schema="tenant")
    Table("note", metadata, Column("id", Integer, primary_key=True), Column("place", Composite(name="place")))
    event.listen(metadata, "before_create", DDL("CREATE TYPE place AS (street text, number int)"))
    tenancy = make_any_tenancy(shared=None, tenant=metadata)
    for key in TENANTS:
        tenancy.create(key)
    assert structure(engine, "public") == []
    for key in TENANTS:
        assert ("relation", "place", "c") in structure(engine, f"t_{key}")


def test_a_missing_shared_type_is_named_with_the_command_that_creates_it(
    make_any_tenancy: Any, make_tenancy: Make, engine: Engine
) -> None:
    metadata = MetaData(schema="tenant")
    Table("note", metadata, Column("level", Enum("a", "b", name="level", schema="shared")))
    tenancy = make_any_tenancy(shared=None, tenant=metadata)
    with pytest.raises(
        ProvisioningError, match=r"The type shared\.level .*create_all\(tables=tenancy\.tables\.shared\)"
    ):
        tenancy.create("acme")
    with engine.begin() as connection:
        metadata.create_all(connection, tables=tenancy.tables.shared)
    tenancy.create("acme")
    for _ in range(2):
        with engine.begin() as connection:
            assert make_shared_tables(connection, make_tenancy(shared=None, tenant=metadata)) == []
    assert named_types.found(engine) == {"shared": {"level"}}
