"""The README's application, for its command lines."""

from __future__ import annotations

import os

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import Tenancy


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Invoice(Base):
    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)


tenancy = Tenancy(os.environ["DATABASE_URL"], tenant=Base.metadata, migrations="migrations")
