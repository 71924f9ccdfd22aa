"""Shared tables: they exist once, with the same rows for every tenant."""

from __future__ import annotations

import enum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from examples.tracker.models.columns import NAMING, TYPES, CreatedAt, PrimaryKey, stored_enum


class Role(enum.StrEnum):
    """A user's role in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class SharedBase(DeclarativeBase):
    """The base of all shared tables."""

    metadata = MetaData(schema="shared", naming_convention=NAMING)
    type_annotation_map = {**TYPES, Role: stored_enum(Role, "role", schema="shared")}


class Country(SharedBase):
    """A country of ISO 3166-1."""

    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(primary_key=True, comment="ISO 3166-1 alpha-2")
    alpha_3: Mapped[str] = mapped_column(unique=True)
    numeric: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    flag: Mapped[str]


class Currency(SharedBase):
    """A currency of ISO 4217."""

    __tablename__ = "currencies"

    code: Mapped[str] = mapped_column(primary_key=True, comment="ISO 4217")
    numeric: Mapped[str]
    name: Mapped[str]


class Language(SharedBase):
    """A language with a two-letter code of ISO 639-1."""

    __tablename__ = "languages"

    code: Mapped[str] = mapped_column(primary_key=True, comment="ISO 639-1")
    alpha_3: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Plan(SharedBase):
    """A plan that a tenant can subscribe to; its key is the tenant's attribute ``plan``."""

    __tablename__ = "plans"
    __table_args__ = (CheckConstraint("monthly_price >= 0", name="monthly_price"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    seats: Mapped[int | None] = mapped_column(comment="None for any number")
    monthly_price: Mapped[int] = mapped_column(comment="in cents")
    currency_code: Mapped[str] = mapped_column(ForeignKey(Currency.code))
    currency: Mapped[Currency] = relationship()


class User(SharedBase):
    """A person who can log in, with memberships in any tenants."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_is_lower_case"),)

    id: Mapped[PrimaryKey]
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str]
    country_code: Mapped[str | None] = mapped_column(ForeignKey(Country.code))
    language_code: Mapped[str] = mapped_column(ForeignKey(Language.code), server_default="en")
    created_at: Mapped[CreatedAt]
    memberships: Mapped[list[Membership]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Membership(SharedBase):
    """A user's membership in a tenant.

        The tenant's id identifies it, because it is never used again: after a drop, another tenant may get the key.
    The key is stored for links and lists.
    """

    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, index=True)
    tenant_key: Mapped[str]
    role: Mapped[Role]
    created_at: Mapped[CreatedAt]
    user: Mapped[User] = relationship(back_populates="memberships")
