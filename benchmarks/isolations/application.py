"""The measured application: one table for each tenant, from which a request reads a row, or a row and a list of 100."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, MetaData, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

LIST = 100
"""Rows of a list."""

ROWS = "rows"
"""The common schema."""


class Base(DeclarativeBase):
    """Tables of the tenants."""

    metadata = MetaData(schema="tenant")


class Item(Base):
    """The only table."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    list_id: Mapped[int] = mapped_column(index=True)
    name: Mapped[str]
    amount: Mapped[int]


def declare(schema: str, *, has_tenant: bool) -> type[Any]:
    """Return the model in one real schema; with the tenant column, as an application declares it by hand."""

    class Own(DeclarativeBase):
        metadata = MetaData(schema=schema)

    columns: dict[str, Any] = {
        "__tablename__": "item",
        "id": mapped_column(BigInteger, primary_key=True),
        "list_id": mapped_column(index=True),
        "__annotations__": {"list_id": Mapped[int], "name": Mapped[str], "amount": Mapped[int]},
    }
    if has_tenant:
        columns["tenant_id"] = mapped_column(BigInteger, primary_key=True)
    return type("Item", (Own,), columns)


Statements: TypeAlias = Callable[[str, int], tuple[Select[Any], ...]]
"""Returns the statements of a request of a tenant, by a number that counts up."""


def statements_of(model: type[Any], values: dict[str, int] | None, *, rows: int, lists: bool = True) -> Statements:
    """Return the statements of requests: a row by its key and, with *lists*, a list.

    :param values: the tenants' values of the tenant column, for the filter by hand.
    :param rows: the number of rows of each tenant.
    """

    def make(tenant: str, number: int) -> tuple[Select[Any], ...]:
        own = () if values is None else (model.tenant_id == values[tenant],)
        point = select(model).where(*own, model.id == 1 + number % rows)
        return (point, select(model).where(*own, model.list_id == number % (rows // LIST))) if lists else (point,)

    return make


def serve(session: Session, statements: tuple[Select[Any], ...]) -> None:
    """Serve one request."""
    for statement in statements:
        assert session.scalars(statement).all()
    session.commit()


async def async_serve(session: AsyncSession, statements: tuple[Select[Any], ...]) -> None:
    """Do the same with asyncio."""
    for statement in statements:
        assert (await session.scalars(statement)).all()
    await session.commit()
