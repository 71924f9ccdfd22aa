"""Translation of the placeholder in directives that other packages add to ``alembic.op``.

Such packages write the schema into text, which nothing translates. So the arguments of their directives are adapted:
those called ``schema`` or ``…_schema``, and names that are written with a schema. Alembic's own operations that
they use get the placeholder back, by which constraints and indexes are named.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from functools import partial
from inspect import signature
from operator import is_
from typing import TYPE_CHECKING, Any

from alembic import op
from sqlalchemy.sql.visitors import Visitable
from typing_extensions import override

from tenantkit.migrations.environment.other_packages import SCRATCH
from tenantkit.postgres.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.operations import Operations
    from alembic.operations.ops import MigrateOperation

_DEPTH = 3
"""Maximum depth of nested objects that are adapted, as in a list of references to tables."""
_KNOWN = ("alembic.", "tenantkit.")
"""Packages whose directives make constructs of SQLAlchemy."""


def adapt_directives(placeholder: str | None, schema: str, alias: str) -> None:
    """Make other packages' directives write *alias* for *placeholder*, for the lifetime of the current ``alembic.op``.

    Without a placeholder, they have the name of autogenerate's schema in its place.

    Alembic's own operations write *placeholder* for both, also where a revision has read *schema* from the database.
    """
    operations: Operations = op.__dict__["_proxy"]
    invoke = operations.invoke
    # Autogenerate's schema has the placeholder's name.
    back = [] if placeholder is None else [_Renaming(name, placeholder) for name in {schema, alias} - {placeholder}]

    def invoked(operation: MigrateOperation) -> Any:
        if type(operation).__module__.startswith(_KNOWN):
            for renaming in back:
                operation = renaming.apply("operation", operation)
        return invoke(operation)

    operations.invoke = invoked  # type: ignore[method-assign]
    op.__dict__["_proxy"] = _Directives(operations, _Renaming(placeholder or SCRATCH, alias))


class _Directives:
    """The object behind ``alembic.op``; a directive may be registered as late as in the function that calls it."""

    def __init__(self, operations: Operations, renaming: _Renaming) -> None:
        self.__dict__.update(_operations=operations, _renaming=renaming)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._operations, name)
        directive = getattr(value, "__globals__", {}).get("op_cls")
        is_known = directive is None or directive.__module__.startswith(_KNOWN)
        return value if is_known else partial(self._call, value)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._operations, name, value)

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        given = signature(method).bind(*args, **options)
        given.arguments.update({name: self._renaming.apply(name, value) for name, value in given.arguments.items()})
        return method(*given.args, **given.kwargs)


@dataclass(frozen=True, slots=True)
class _Renaming:
    """Replaces the name of a schema in the arguments of a directive."""

    old: str
    new: str

    def apply(self, name: str, value: Any, depth: int = _DEPTH) -> Any:
        """Return *value* of the argument or attribute *name*, with the new name of the schema."""
        match value:
            case str() if name.endswith("schema"):
                return self.new if value == self.old else value
            case str():
                qualified = re.match(rf'("?){re.escape(self.old)}\1(?=\.("?)\w+\2$)', value)
                # Otherwise the same object: ``op.f()`` marks a name by its class.
                return value if qualified is None else quote_identifier(self.new) + value[qualified.end() :]
            case list() | tuple() if type(value) in {list, tuple} and depth:  # pyright: ignore[reportUnknownArgumentType]
                return self._apply_to_items(name, value, depth)  # pyright: ignore[reportUnknownArgumentType]
            case dict() if depth:
                return self._apply_to_values(value, depth)  # pyright: ignore[reportUnknownArgumentType]
            case _ if depth and hasattr(value, "__dict__") and not isinstance(value, type | Visitable):
                return self._apply_to_attributes(value, depth)
            case _:
                return value

    def _apply_to_items(self, name: str, items: Any, depth: int) -> Any:
        renamed = [self.apply(name, each, depth - 1) for each in items]
        return items if all(map(is_, renamed, items)) else type(items)(renamed)

    def _apply_to_values(self, values: dict[Any, Any], depth: int) -> dict[Any, Any]:
        renamed = {name: self.apply(str(name), each, depth - 1) for name, each in values.items()}
        return values if all(map(is_, renamed.values(), values.values())) else renamed

    def _apply_to_attributes(self, value: Any, depth: int) -> Any:
        attributes: dict[str, Any] = value.__dict__
        renamed = self._apply_to_values(attributes, depth)
        if renamed is attributes:
            return value
        changed = copy(value)
        for name, each in renamed.items():
            if each is not attributes[name]:
                object.__setattr__(changed, name, each)  # also if it is frozen
        return changed
