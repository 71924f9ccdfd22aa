"""Tables of two databases that refer to one another, in every way that SQLAlchemy has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Shared(DeclarativeBase):
    metadata = MetaData(schema="shared")


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Author(Shared):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int | None] = mapped_column(ForeignKey(Author.id))
    author: Mapped[Author | None] = relationship(Author)
    copies: Mapped[list[Copy]] = relationship(back_populates="book")


class Copy(Base):
    __tablename__ = "copy"

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey(Book.id))
    book: Mapped[Book] = relationship(back_populates="copies")


APPLICATION: dict[str, Any] = {"tenant": Base.metadata, "shared": Shared.metadata, "listen": False}
