"""Read-only JSON: dicts and lists that compare, pickle and serialize as plain ones do, and refuse to be changed.

`types.MappingProxyType` can be neither pickled, copied nor serialized, and protects the outermost level only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from typing_extensions import override

_HINT = (
    "A tenant's attributes are read-only, because the registry's cache shares them. Change them with "
    "tenancy.update(key, attributes={...}), or work on a copy: copy.deepcopy(dict(attributes))."
)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(_HINT)


class FrozenDict(dict[str, Any]):
    """A `dict` that refuses to be changed; ``copy()`` and ``|`` return plain ones."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (dict(self),)


class FrozenList(list[Any]):
    """A `list` that refuses to be changed; ``copy()``, ``+`` and slices return plain ones."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return freeze, (list(self),)


_EMPTY = FrozenDict()


def freeze(value: Any) -> Any:
    """Return *value* read-only, with all dicts and lists in it; what is frozen already is returned as it is."""
    match value:
        case FrozenDict() | FrozenList():
            return value
        case Mapping():
            return FrozenDict({name: freeze(each) for name, each in value.items()}) if value else _EMPTY
        case list() | tuple():
            return FrozenList(map(freeze, value))
        case _:
            return value
