"""Read-only JSON: dicts and lists that compare, pickle and serialize as plain ones do, and refuse to be changed.

`types.MappingProxyType` can be neither pickled, copied nor serialized, and protects the outermost level only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NoReturn, cast

from typing_extensions import override

_HINT = (
    "A tenant's attributes are read-only, because the registry's cache shares them. Change them with "
    "tenancy.update(key, attributes={...}), or work on a copy: copy.deepcopy(attributes)."
)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(_HINT)


class FrozenDict(dict[str, Any]):
    """A `dict` that refuses to be changed. Its copies are plain ones; `freeze` makes it."""

    __slots__ = ()

    def __new__(cls, items: Iterable[tuple[str, Any]] = ()) -> Any:
        """Return a plain `dict`: `dataclasses.asdict` calls the class of each object that it copies."""
        return dict(items)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return {name: deepcopy(each, memo) for name, each in self.items()}

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (dict(self),)


class FrozenList(list[Any]):
    """A `list` that refuses to be changed. Its copies are plain ones; `freeze` makes it."""

    __slots__ = ()

    def __new__(cls, items: Iterable[Any] = ()) -> Any:
        """Return a plain `list`: `dataclasses.asdict` calls the class of each object that it copies."""
        return list(items)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [deepcopy(each, memo) for each in self]

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (list(self),)


def freeze(value: Any) -> Any:
    """Return *value* read-only, with all dicts and lists in it; a frozen value is returned unchanged."""
    match value:
        case FrozenDict() | FrozenList():
            return value
        case Mapping():
            return _freeze_dict(cast("Mapping[str, Any]", value)) if value else EMPTY
        case list() | tuple():
            return _freeze_list(cast("Sequence[Any]", value))
        case _:
            return value


def _freeze_dict(value: Mapping[str, Any]) -> FrozenDict:
    frozen: FrozenDict = dict.__new__(FrozenDict)
    super(FrozenDict, frozen).update({name: freeze(each) for name, each in value.items()})
    return frozen


def _freeze_list(value: Sequence[Any]) -> FrozenList:
    frozen: FrozenList = list.__new__(FrozenList)
    super(FrozenList, frozen).extend(map(freeze, value))
    return frozen


EMPTY: FrozenDict = dict.__new__(FrozenDict)
"""The attributes of every tenant without attributes."""
