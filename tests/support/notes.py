"""The application of the how-to guides: the tutorial's, on the database that `DATABASE_URL` names."""

from __future__ import annotations

import os

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import CreateSchema

from tenantkit import Tenancy


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


def make_tenancy(*keys: str) -> Tenancy:
    """Return the tenancy, with its registry, its shared tables and a tenant for each of *keys*."""
    tenancy = Tenancy(os.environ["DATABASE_URL"], shared=SharedBase.metadata, tenant=TenantBase.metadata, listen=False)
    tenancy.install()
    with tenancy.engine.begin() as connection:
        connection.execute(CreateSchema("shared", if_not_exists=True))
        SharedBase.metadata.create_all(connection)
    for key in keys:
        tenancy.create(key)
    return tenancy
