"""Labels of ENUM types, which autogenerate does not compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Enum

from tenantkit.postgres.quoting import quote_identifier, quote_literal
from tenantkit.schema_objects import named_types, schema_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Table


def label_notes(
    tables: Iterable[Table],
    existing: Mapping[tuple[str | None, str], Sequence[str]],
    *,
    is_shared: bool,
    leave_out: Collection[tuple[str | None, str]] = (),
) -> list[str]:
    """Return notes on different labels of ENUM types, which Alembic does not compare.

    :param existing: the labels of the existing types, by the models' schema and name.
    :param leave_out: the types for which another package has written operations.
    """
    notes: list[str] = []
    for (schema, name), labels in _declared(tables, existing).items():
        there = labels if (schema, name) in leave_out else existing.get((schema, name), labels)
        # Without a schema, because the placeholder is not translated in text: the search_path finds the type.
        written = ".".join(quote_identifier(each) for each in (schema if is_shared else None, name) if each)
        for label in [each for each in labels if each not in there]:
            change = f"ALTER TYPE {written} ADD VALUE {quote_literal(label)}{_place(label, labels, there)}"
            notes.append(
                f"The models have the label {label!r} of the type {name}, which autogenerate does not write. "
                f"Write a revision for it: op.execute({change!r})"
            )
        notes += [
            f"The models do not have the label {label!r} of the type {name}, and PostgreSQL cannot remove one."
            for label in there
            if label not in labels
        ]
    return notes


def _declared(
    tables: Iterable[Table], existing: Collection[tuple[str | None, str]]
) -> dict[tuple[str | None, str], Sequence[str]]:
    """Return the labels of each type in the models, by its schema and name."""
    found: dict[tuple[str | None, str], Sequence[str]] = {}
    for table in tables:
        for enum in (enum for column in table.columns for enum in named_types(column.type)):
            if isinstance(enum, Enum):
                name, schema = str(enum.name), schema_of(enum)
                if schema is None:  # a variant, to which SQLAlchemy gives no schema
                    schema = next((each for each, other in existing if other == name), None)
                found[schema, name] = enum.enums
    return found


def _place(label: str, labels: Sequence[str], there: Sequence[str]) -> str:
    """Return the clause for a new label's place: before the next existing label, or an empty string for the end."""
    behind = (each for each in labels[labels.index(label) + 1 :] if each in there)
    following = next(behind, None)
    return f" BEFORE {quote_literal(following)}" if following is not None else ""
