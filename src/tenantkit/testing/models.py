"""The models of an application and their tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import Column, Table, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.mapper import _all_registries


def table_of(model: Any) -> Table:
    """Return the table of a model, or the table itself."""
    return cast("Table", model if isinstance(model, Table) else inspect(model).local_table)


def text_of(instance: object) -> str:
    """Return the attributes of an object, as far as they are loaded, as text."""
    attributes: dict[str, Any] = vars(instance)
    return " ".join(map(str, attributes.values()))


def mappers_of(tables: Collection[Table]) -> list[Mapper[Any]]:
    """Return the mappers of *tables*, in the order of the models' names."""
    every = {mapper for registry in _all_registries() for mapper in registry.mappers}
    return sorted((each for each in every if each.local_table in tables), key=lambda each: each.class_.__name__)


def extends_another(mapper: Mapper[Any]) -> bool:
    """Return whether the rows of a model continue rows of another table (joined inheritance)."""
    return mapper.inherits is not None and mapper.local_table is not mapper.inherits.local_table


def discriminators(tables: Collection[Table]) -> dict[Column[Any], list[Any]]:
    """Return the columns that say which model a row is of, with their values for models of the same table."""
    return {
        mapper.polymorphic_on: [
            identity for identity, each in mapper.polymorphic_map.items() if each.local_table is mapper.local_table
        ]
        for mapper in mappers_of(tables)
        if isinstance(mapper.polymorphic_on, Column) and not extends_another(mapper)
    }
