"""The measured application: two tables for each tenant, and a request that reads one and writes the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ForeignKey, MetaData, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenantkit import Tenancy

ACCOUNTS = 20
"""Rows of ``account`` in each tenant; their ids are 1 to this."""


@dataclass(frozen=True)
class Models:
    """The same two tables, declared with one schema or another."""

    metadata: MetaData
    account: type[Any]
    entry: type[Any]


def declare(schema: str | None) -> Models:
    """Return the models with their tables in *schema*."""

    class Base(DeclarativeBase):
        metadata = MetaData(schema=schema)

    class Account(Base):
        __tablename__ = "account"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(unique=True)
        city: Mapped[str]
        balance: Mapped[int]

    class Entry(Base):
        __tablename__ = "entry"

        id: Mapped[int] = mapped_column(primary_key=True)
        account_id: Mapped[int] = mapped_column(ForeignKey(Account.id), index=True)
        amount: Mapped[int]
        note: Mapped[str]

    return Models(Base.metadata, Account, Entry)


TENANT = declare("tenant")
"""The tables with the placeholder, for tenantkit and for a map made by hand."""

UNQUALIFIED = declare(None)
"""The tables without a schema, for ``search_path``."""


def serve(session: Session, models: Models, account_id: int) -> None:
    """Serve one request: a select by primary key, an insert, a commit."""
    account = session.get_one(models.account, account_id)
    session.add(models.entry(account_id=account.id, amount=account.balance + 1, note="paid"))
    session.commit()


async def async_serve(session: AsyncSession, models: Models, account_id: int) -> None:
    """Do the same with asyncio."""
    account = await session.get_one(models.account, account_id)
    session.add(models.entry(account_id=account.id, amount=account.balance + 1, note="paid"))
    await session.commit()


@dataclass(frozen=True)
class Texts:
    """The statements of a request as textual SQL."""

    select: TextClause
    insert: TextClause


def texts_for(schema: str) -> Texts:
    """Return the statements, with *schema* and a dot in front of each table, or an empty string."""
    return Texts(
        text(f"SELECT id, name, city, balance FROM {schema}account WHERE id = :id"),
        text(f"INSERT INTO {schema}entry (account_id, amount, note) VALUES (:account, :amount, :note) RETURNING id"),
    )


def serve_text(session: Session, texts: Texts, account_id: int) -> None:
    """Do the same in textual SQL."""
    account = session.execute(texts.select, {"id": account_id}).one()
    session.execute(texts.insert, {"account": account.id, "amount": account.balance + 1, "note": "paid"}).one()
    session.commit()


def provision(tenancy: Tenancy, keys: list[str]) -> None:
    """Create the tenants, each with its accounts."""
    tenancy.install()
    for key in keys:
        tenancy.create(key, seed=_fill)


def _fill(session: Session) -> None:
    session.add_all(
        TENANT.account(name=f"account {number}", city="Paris", balance=number * 10) for number in range(1, ACCOUNTS + 1)
    )
