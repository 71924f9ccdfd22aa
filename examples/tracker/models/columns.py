"""The naming convention and the column types of shared and tenant tables."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import DateTime, Enum, Identity, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names for constraints and indexes, so that migrations can refer to them."""

PrimaryKey = Annotated[int, mapped_column(Identity(), primary_key=True)]
CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]

TYPES: dict[Any, Any] = {
    str: Text,
    datetime: DateTime(timezone=True),
    dict[str, Any]: JSONB,
    list[str]: ARRAY(Text),
}


def stored_enum(choices: type[enum.StrEnum], name: str, *, schema: str) -> Enum:
    """Return the PostgreSQL ENUM *name* for *choices*, which stores their values instead of their Python names."""
    return Enum(choices, name=name, schema=schema, values_callable=lambda members: [member.value for member in members])
