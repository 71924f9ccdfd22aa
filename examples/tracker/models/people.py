"""Tenant tables: members and clients.

Relationships to shared models name the class object, because a base finds only its own classes by name.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from examples.tracker.models.base import TenantBase
from examples.tracker.models.columns import CreatedAt, PrimaryKey
from examples.tracker.models.shared import Country, Currency, User


class Member(TenantBase):
    """A user in this tenant; the row's key is the user's."""

    __tablename__ = "members"
    __table_args__ = (CheckConstraint("weekly_hours BETWEEN 0 AND 80", name="weekly_hours"),)

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True, autoincrement=False)
    display_name: Mapped[str]
    job_title: Mapped[str | None]
    weekly_hours: Mapped[int] = mapped_column(server_default="40")
    joined_at: Mapped[CreatedAt]
    user: Mapped[User] = relationship(User)


class Client(TenantBase):
    """A customer that projects are billed to."""

    __tablename__ = "clients"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    country_code: Mapped[str] = mapped_column(ForeignKey(Country.code), index=True)
    currency_code: Mapped[str] = mapped_column(ForeignKey(Currency.code), server_default="EUR")
    country: Mapped[Country] = relationship(Country)
    currency: Mapped[Currency] = relationship(Currency)
