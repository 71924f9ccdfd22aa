"""The models of an application that does not know of row isolation."""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Shared(DeclarativeBase):
    metadata = MetaData(schema="shared")


class Plan(Shared):
    __tablename__ = "plan"

    name: Mapped[str] = mapped_column(primary_key=True)


class Kind(enum.Enum):
    CUSTOMER = "customer"
    PARTNER = "partner"


tagged = Table(
    "tagged",
    Base.metadata,
    Column("account_id", ForeignKey("tenant.account.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tenant.tag.id", ondelete="CASCADE"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Account(Base):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[Kind] = mapped_column(default=Kind.CUSTOMER)
    plan: Mapped[str | None] = mapped_column(ForeignKey(Plan.name))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.account.id", ondelete="SET NULL"))
    parent: Mapped[Account | None] = relationship(remote_side="Account.id")
    tags: Mapped[list[Tag]] = relationship(secondary=tagged)
    invoices: Mapped[list[Invoice]] = relationship(back_populates="account", cascade="all, delete-orphan")


class Invoice(Base):
    __tablename__ = "invoice"
    __table_args__ = (UniqueConstraint("number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    amount: Mapped[int] = mapped_column(default=0, index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id))
    account: Mapped[Account] = relationship(back_populates="invoices")


APPLICATION: dict[str, Any] = {"tenant": Base.metadata, "shared": Shared.metadata}
