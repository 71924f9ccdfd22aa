"""The models of the tutorial."""

from __future__ import annotations

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="shared")


class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Colour(SharedBase):
    __tablename__ = "colour"

    name: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str]


class Note(TenantBase):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    colour_name: Mapped[str | None] = mapped_column(ForeignKey(Colour.name))
    colour: Mapped[Colour | None] = relationship(Colour)
