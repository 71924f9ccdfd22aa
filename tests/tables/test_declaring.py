"""Declarations of an application, and refusals of wrong ones."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    Column,
    Computed,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    create_engine,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tenantkit import ConfigurationError, Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.databases.engines import require_usable_server
from tests.support.catalog import schemas, structure

URL = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def table(metadata: MetaData, name: str, *columns: Column[Any], **options: Any) -> Table:
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns, **options)


def install_shared(engine: Engine, metadata: MetaData) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA common")
        metadata.create_all(connection, tables=[each for each in metadata.tables.values() if each.schema == "common"])


def test_one_metadata_with_both_kinds_of_tables(make_any_tenancy: Callable[..., Any], engine: Engine) -> None:
    class Base(DeclarativeBase):
        metadata = MetaData(schema="tenant")

    class Currency(Base):
        __tablename__ = "currency"
        __table_args__ = {"schema": "common"}  # noqa: RUF012
        code: Mapped[str] = mapped_column(primary_key=True)

    class Invoice(Base):
        __tablename__ = "invoice"
        id: Mapped[int] = mapped_column(primary_key=True)
        currency_code: Mapped[str] = mapped_column(ForeignKey("common.currency.code"))
        currency: Mapped[Currency] = relationship()

    install_shared(engine, Base.metadata)
    tenancy = make_any_tenancy(shared=None, tenant=Base.metadata)
    assert [each.name for each in tenancy.tables.shared] == ["currency"]
    assert [each.name for each in tenancy.tables.tenant] == ["invoice"]
    with tenancy.shared_session() as session:
        session.add(Currency(code="EUR"))
        session.commit()
    for key in ("acme", "beta"):
        tenancy.create(key)
        with tenancy.session(key) as session:
            session.add(Invoice(currency_code="EUR"))
            session.commit()
            assert session.scalars(select(Currency.code).join(Invoice)).all() == ["EUR"]
            assert session.scalars(select(Invoice.id)).all() == [1]


def test_with_placeholder_none_tables_without_a_schema_are_tenant_tables(
    make_any_tenancy: Callable[..., Any], engine: Engine
) -> None:
    shared, tenant = MetaData(schema="common"), MetaData()
    country = table(shared, "country")
    note = table(
        tenant,
        "note",
        Column("country", ForeignKey(country.c.id)),
        Column("mood", Enum(Mood, name="mood")),
        Column("body", Text),
    )
    install_shared(engine, shared)
    tenancy = make_any_tenancy(shared=shared, tenant=tenant, placeholder=None)
    for key in ("acme", "beta"):
        tenancy.create(
            key, seed=lambda session, key=key: session.execute(note.insert().values(body=key, mood=Mood.GOOD))
        )
    assert structure(engine, "public") == []
    for key in ("acme", "beta"):
        with tenancy.session(key) as session:
            assert session.scalars(select(note.c.body)).all() == [key]
            assert session.scalars(text("SELECT body FROM note WHERE mood = 'GOOD'")).all() == [key]
            assert session.scalars(select(country.c.id)).all() == []
    with (
        tenancy.shared_session(execution_options={"yield_per": 5}) as session,
        pytest.raises(Exception, match="no_tenant"),
    ):
        session.execute(select(note)).all()


def test_named_types_and_sequences_are_each_tenants_own(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    class Base(DeclarativeBase):
        metadata = MetaData(schema="tenant")

    class Day(Base):
        __tablename__ = "day"
        id: Mapped[int] = mapped_column(Sequence("day_number"), primary_key=True)
        mood: Mapped[Mood]
        moods: Mapped[list[Mood]] = mapped_column(ARRAY(Enum(Mood, name="moods")))
        checked: Mapped[bool] = mapped_column(default=False)
        first: Mapped[str] = mapped_column(
            Computed("CASE WHEN mood = 'GOOD'::mood THEN 'yes' ELSE 'no' END", persisted=True)
        )

    tenancy = make_tenancy(shared=None, tenant=Base.metadata)
    for key in ("acme", "beta"):
        tenancy.create(key)
        with tenancy.session(key) as session:
            for _ in range(2):
                session.add(Day(mood=Mood.GOOD, moods=[Mood.BAD, Mood.GOOD]))
            session.commit()
            assert [(day.id, day.mood, day.moods, day.first) for day in session.scalars(select(Day))] == [
                (number, Mood.GOOD, [Mood.BAD, Mood.GOOD], "yes") for number in (1, 2)
            ]
    assert structure(engine, "public") == []
    assert {("label", "mood"), ("label", "moods"), ("relation", "day_number")} <= {
        (kind, name) for kind, name, _ in structure(engine, "t_acme")
    }
    tenancy.drop("acme")
    with tenancy.session("beta") as session:
        assert session.scalars(select(Day.id)).all() == [1, 2]


def test_models_may_be_imported_after_the_tenancy(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    shared, tenant = MetaData(schema="common"), MetaData(schema="tenant")
    country = table(shared, "country")
    tenancy = make_tenancy(shared=shared, tenant=tenant)
    with pytest.raises(ConfigurationError, match="Import your models"):
        tenancy.session("acme")
    install_shared(engine, shared)
    note = table(tenant, "note", Column("country", ForeignKey(country.c.id)), Column("mood", Enum(Mood, name="mood")))
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.execute(note.insert().values(mood=Mood.BAD))
    table(tenant, "late", schema="elsewhere")
    with pytest.raises(ConfigurationError, match="without the placeholder.*elsewhere.late"):
        tenancy.session("acme")


def refused(match: str, *, shared: MetaData | None, tenant: MetaData, **options: Any) -> None:
    for kind in (Tenancy, AsyncTenancy):
        with pytest.raises(ConfigurationError, match=match):
            kind(URL, shared=shared, tenant=tenant, **options)


def test_a_shared_table_cannot_reference_a_tenant_table() -> None:
    shared, tenant = MetaData(schema="common"), MetaData(schema="tenant")
    note = table(tenant, "note")
    table(shared, "favourite", Column("note", ForeignKey(note.c.id)))
    refused("common.favourite references the tenant table tenant.note", shared=shared, tenant=tenant)
    both = MetaData(schema="tenant")
    table(both, "note")
    table(both, "favourite", Column("note", ForeignKey("tenant.note.id")), schema="common")
    refused("common.favourite references", shared=None, tenant=both)


@pytest.mark.skipif(not hasattr(ForeignKey, "target_tokens"), reason="SQLAlchemy 2.0 refuses these names itself")
@pytest.mark.parametrize("name", ["note", "note.old", ".", "a b"])
@pytest.mark.parametrize("column", ["id", "no.id"])
def test_foreign_keys_may_reference_any_name(
    name: str, column: str, make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    shared, tenant = MetaData(schema="common"), MetaData(schema="tenant")
    targets = [
        Table(name, metadata, Column(column, Integer, primary_key=True)).c[column] for metadata in (shared, tenant)
    ]
    table(tenant, "line", Column("a", ForeignKey(targets[0])), Column("b", ForeignKey(targets[1])))
    install_shared(engine, shared)
    make_tenancy(shared=shared, tenant=tenant).create("acme")
    assert len(inspect(engine).get_foreign_keys("line", "t_acme")) == 2
    table(shared, "favourite", Column("note", ForeignKey(targets[1])))
    refused(
        f"common.favourite references the tenant table {re.escape(f'tenant.{name}')}:", shared=shared, tenant=tenant
    )


def test_a_table_on_both_sides_is_refused() -> None:
    shared, tenant = MetaData(schema="tenant"), MetaData(schema="tenant")
    table(shared, "note")
    table(tenant, "note")
    refused("in both.*tenant.note", shared=shared, tenant=tenant)


def test_a_model_on_the_wrong_metadata_is_named() -> None:
    shared, tenant = MetaData(schema="common"), MetaData(schema="tenant")
    table(shared, "country")
    table(tenant, "plan", schema="common")
    refused("In the tenant metadata.*common.plan", shared=shared, tenant=tenant)
    shared, tenant = MetaData(schema="common"), MetaData(schema="tenant")
    table(shared, "note", schema="tenant")
    table(tenant, "task")
    refused("In the shared metadata.*tenant.note", shared=shared, tenant=tenant)


def test_a_placeholder_on_neither_side_is_refused() -> None:
    metadata = MetaData(schema="common")
    table(metadata, "country")
    refused("No table carries the placeholder schema 'tenant'", shared=None, tenant=metadata)
    tenant = MetaData(schema="tenants")
    table(tenant, "note")
    refused("without the placeholder schema 'tenant'", shared=metadata, tenant=tenant)


def test_a_shared_table_without_a_schema_is_refused() -> None:
    shared, tenant = MetaData(), MetaData(schema="tenant")
    table(shared, "country")
    table(tenant, "note")
    refused("without a schema: country", shared=shared, tenant=tenant)


def test_one_type_object_cannot_be_on_both_sides() -> None:
    shared, tenant = MetaData(), MetaData()
    mood = Enum(Mood, name="mood")
    table(shared, "country", Column("mood", mood), schema="common")
    table(tenant, "note", Column("mood", mood), schema="tenant")
    refused("The type of tenant.note and common.country is one object", shared=shared, tenant=tenant)


def test_a_real_schema_with_the_placeholders_name_is_refused_on_the_first_connection(
    make_any_tenancy: Callable[..., Any], engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA tenant")
    tenancy = make_any_tenancy()
    for use in (tenancy.list, lambda: tenancy.get("acme"), lambda: tenancy.create("acme")):
        with pytest.raises(ConfigurationError, match="A real schema is called 'tenant'"):
            use()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA tenant")
    assert tenancy.create("acme").key == "acme"
    assert "tenant" not in schemas(engine)


def test_an_old_server_is_refused() -> None:
    require_usable_server(14, None)
    with pytest.raises(ConfigurationError, match="PostgreSQL 13; tenantkit needs 14"):
        require_usable_server(13, None)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://root:s3cret@host/db",
        "postgresql://u:s3cret@host:s3cret/db",
        "postgresql+asyncpg://u:s3cret@host/db",
        "postgresql+psycopg2://u:s3cret@host/db",
        "sqlite://",
    ],
)
def test_an_invalid_url_is_refused_without_a_password(url: str) -> None:
    tenant = MetaData(schema="tenant")
    with pytest.raises(ConfigurationError) as error:
        Tenancy(url, tenant=tenant)
    assert "s3cret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_wrong_password_is_never_shown(make_tenancy: Callable[..., Tenancy], engine: Engine) -> None:
    url = engine.url.set(username="nobody_at_all", password="s3cret-word")
    tenancy = make_tenancy(database=url)
    with pytest.raises(OperationalError) as error:
        tenancy.create("acme")
    assert "s3cret-word" not in f"{error.value} {error.value!r} {tenancy.engine!r}"


def test_an_engine_is_used_unchanged(engine: Engine, make_tenancy: Callable[..., Tenancy]) -> None:
    assert make_tenancy(database=engine).engine is engine
    with pytest.raises(ConfigurationError, match="engine_options="):
        make_tenancy(database=engine, engine_options={"pool_size": 1})
    with pytest.raises(ConfigurationError, match="sqlite"):
        make_tenancy(database=create_engine("sqlite://"))
    tenancy = make_tenancy(database=engine)
    assert tenancy.create("acme").key == "acme"


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "REPEATABLE READ", "SERIALIZABLE"])
def test_provisioning_does_not_depend_on_the_engines_isolation(
    make_tenancy: Callable[..., Tenancy], engine: Engine, level: str
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError

    tenancy = make_tenancy(engine_options={"isolation_level": level})
    with pytest.raises(Exception, match="seeding"):
        tenancy.create("acme", seed=fail)
    assert "t_acme" not in schemas(engine)
    tenancy.create("acme")
    tenancy.drop("acme")
    assert "t_acme" not in schemas(engine)
