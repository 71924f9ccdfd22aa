"""Canary rows are generated for the tables that an application declares, and found wherever they appear."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    CheckConstraint,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import CITEXT, INET, JSONB, TSRANGE
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import ConfigurationError, Tenancy
from tenantkit.registry.tables import tenants as registered
from tenantkit.testing import Canaries, UnprovenWarning, assert_isolated, plant
from tenantkit.testing.template import prepare


class Shared(DeclarativeBase):
    metadata = MetaData(schema="common")


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Reversed(TypeDecorator[str]):
    """What the application sees is not what is stored."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Any) -> Any:
        return value and value[::-1]

    def process_result_value(self, value: Any, _dialect: Any) -> Any:
        return value and value[::-1]


class Currency(Shared):
    __tablename__ = "currency"

    code: Mapped[str] = mapped_column(String(3), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Invoice(Shared):
    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey(registered.c.id))
    line: Mapped[str]


class Everything(Base):
    __tablename__ = "everything"
    __table_args__ = (
        CheckConstraint("low < high"),
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent_is_one"),
        CheckConstraint(r"code ~ '^[A-Z][A-Z0-9]{3,8}$'"),
        CheckConstraint("(closed_on IS NULL) = (colour = 'RED')"),
        CheckConstraint("mail LIKE '%@%' AND mail = lower(mail)"),
        CheckConstraint("site LIKE 'https://%'"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    low: Mapped[int]
    high: Mapped[int]
    percent: Mapped[int]
    small: Mapped[int] = mapped_column(SmallInteger)
    amount: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    rate: Mapped[Decimal] = mapped_column(Numeric(4, 2))
    weight: Mapped[float] = mapped_column(Double)
    code: Mapped[str]
    mail: Mapped[str]
    site: Mapped[str]
    short: Mapped[str] = mapped_column(String(2))
    exact: Mapped[str] = mapped_column(String(8))
    folded: Mapped[str] = mapped_column(CITEXT)
    hidden: Mapped[str] = mapped_column(Reversed)
    token: Mapped[UUID] = mapped_column(Uuid)
    words: Mapped[list[str]] = mapped_column(ARRAY(String))
    data: Mapped[Any] = mapped_column(JSONB)
    plain: Mapped[Any] = mapped_column(JSON)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    address: Mapped[str] = mapped_column(INET)
    colour: Mapped[Colour]
    is_open: Mapped[bool]
    closed_on: Mapped[date | None]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    size: Mapped[int] = mapped_column(Computed("length(mail)"))
    currency: Mapped[str] = mapped_column(ForeignKey(Currency.code))
    unknown: Mapped[Any | None] = mapped_column(TSRANGE)


class Pair(Base):
    """A composite key, which another one refers to."""

    __tablename__ = "pair"

    left: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    right: Mapped[str] = mapped_column(primary_key=True)
    everything_id: Mapped[UUID] = mapped_column(ForeignKey(Everything.id), unique=True)


class Node(Base):
    __tablename__ = "node"
    __table_args__ = (
        ForeignKeyConstraint(["left", "right"], [Pair.left, Pair.right]),
        UniqueConstraint("left", "name"),
        Index("uq_node_active", "left", unique=True, postgresql_where=text("active")),
        CheckConstraint("parent_id <> id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    left: Mapped[int]
    right: Mapped[str]
    name: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default="true")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.node.id"))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.owner.id", use_alter=True, name="fk_node_owner"))


class Owner(Base):
    """The other end of a circle."""

    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int | None] = mapped_column(ForeignKey(Node.id))


class Edge(Base):
    __tablename__ = "edge"
    __table_args__ = (CheckConstraint("source_id <> target_id"),)

    source_id: Mapped[int] = mapped_column(ForeignKey(Node.id), primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey(Node.id), primary_key=True)


CARRIERS = set(re.findall(r"\w+", "amount weight code mail site exact folded hidden token words data plain raw"))


def populate(tenancy: Tenancy) -> Tenancy:
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public")
    prepare(tenancy)
    for key in ("acme", "globex"):
        tenancy.create(key)
    return tenancy


@pytest.fixture
def everything(make_tenancy: Callable[..., Tenancy], make_database: Callable[..., Any]) -> Tenancy:
    return populate(
        make_tenancy(
            database=make_database(),
            shared=Shared.metadata,
            tenant=Base.metadata,
            extra_schemas=["public"],
            raw_sql="forbid",
        )
    )


def test_every_column_that_can_carry_a_canary_has_one(everything: Tenancy) -> None:
    pair = [everything.get("acme"), everything.get("globex")]
    canaries = plant(everything, pair)
    for tenant, number in zip(pair, (2, 3), strict=True):
        rows = canaries.rows[tenant.key]
        assert {table.name: len(found) for table, found in rows.items()} == dict.fromkeys(
            ("everything", "pair", "node", "owner", "edge", "invoice"), number
        )
        with everything.session(tenant) as session:
            for row in session.execute(select(Everything.__table__)).mappings():
                carriers = {name for name, value in row.items() if canaries.of(tenant.key, str(value))}
                assert carriers - {"low", "high"} == CARRIERS
                assert carriers & {"low", "high"}  # both, if the first is by chance less than the second
                assert not canaries.of_others(str(row), tenant.key)
            nodes = session.scalars(select(Node)).all()
            assert len({(node.left, node.name) for node in nodes}) == number
        other = next(each.key for each in pair if each is not tenant)
        assert {found.tenant for found in canaries.of_others(str(rows), other)} == {tenant.key}
    assert [row["id"] for row in canaries.rows_of("acme", Owner)] == [900_000, 900_001]
    keys = [[row["id"] for row in canaries.rows_of(key, Everything)] for key in ("acme", "globex")]
    assert keys[1][:2] == keys[0]
    with everything.shared_session() as session:
        lines = session.execute(select(Invoice.tenant_id, Invoice.line)).all()
        assert sorted(lines) == sorted(
            (row["tenant_id"], row["line"]) for key in ("acme", "globex") for row in canaries.rows_of(key, Invoice)
        )


class Odd(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Range(Odd):
    __tablename__ = "range"

    id: Mapped[int] = mapped_column(primary_key=True)
    during: Mapped[Any] = mapped_column(TSRANGE)


class Digits(Odd):
    __tablename__ = "digits"
    __table_args__ = (CheckConstraint("isbn ~ '^978-[0-9]{10}$'", name="isbn"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    isbn: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]


class Dependent(Odd):
    __tablename__ = "dependent"

    id: Mapped[int] = mapped_column(primary_key=True)
    range_id: Mapped[int] = mapped_column(ForeignKey(Range.id))


@pytest.fixture
def odd(make_tenancy: Callable[..., Tenancy], make_database: Callable[..., Any]) -> Tenancy:
    return populate(make_tenancy(database=make_database(), tenant=Odd.metadata, shared=None))


def test_models_whose_rows_cannot_be_generated_are_named_and_take_factories(odd: Tenancy) -> None:
    pair = [odd.get("acme"), odd.get("globex")]
    with pytest.raises(ConfigurationError) as refused:
        plant(odd, pair)
    message = str(refused.value)
    assert "tenant.range: no value is known for its column during of the type TSRANGE" in message
    assert "tenant.digits: CheckViolation" in message
    assert "dependent" not in message
    numbers = iter(range(100))
    factories = {
        Range: lambda _: {"during": "[2026-01-01,2026-01-02)"},
        Digits.__table__: lambda canary: {"isbn": f"978-{next(numbers):010}", "title": f"on {canary}"},
    }
    canaries = plant(odd, pair, factories)
    assert [len(rows) for rows in canaries.rows["globex"].values()] == [3, 3, 3]
    assert all(canaries.of("acme", row["title"]) for row in canaries.rows_of("acme", Digits))


class Family(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Animal(Family):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012 - SQLAlchemy's own

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]


class Cat(Animal):
    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012 - likewise


class Dog(Animal):
    __tablename__ = "dog"
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012 - likewise

    id: Mapped[int] = mapped_column(ForeignKey(Animal.id), primary_key=True)
    trick: Mapped[str]


class Report(Family):
    """A view, which takes no rows."""

    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[Any] = mapped_column(TSRANGE)


def test_inherited_models_get_rows_as_far_as_they_are_in_one_table(
    make_tenancy: Callable[..., Tenancy], make_database: Callable[..., Any]
) -> None:
    tenancy = populate(make_tenancy(database=make_database(), tenant=Family.metadata, shared=None))
    with pytest.warns(UnprovenWarning, match="Dog: rows that continue those of another table are not planted"):
        report = assert_isolated(tenancy, factories={Report: None})
    assert report.proven == {"Animal", "Cat"}
    assert report.unproven.keys() == {"Dog"}
    with tenancy.session("globex") as session:
        assert {type(each) for each in session.scalars(select(Animal))} == {Animal, Cat}
        assert session.scalars(select(Report)).all() == []


def test_a_number_is_not_found_in_a_longer_one_and_what_was_sent_does_not_count() -> None:
    canaries = Canaries()
    number, word = canaries.number("acme", "note.size"), canaries.text("acme", "note.text")
    assert [each.place for each in canaries.of("acme", f'{{"size": {number}}}')] == ["note.size"]
    assert canaries.of("acme", f"1{number}") == canaries.of("acme", f"{number}0") == []
    assert [each.place for each in canaries.of_others(f"a{word.upper()}b", "globex")] == ["note.text"]
    assert canaries.of_others(f"{number} {word}", "globex", sent=f"/notes/{number}?words={word.upper()}") == []
    assert len({canaries.text("acme", "") for _ in range(3_000)}) == 3_000
