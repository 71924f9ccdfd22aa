"""Checks of the arguments of public functions.

A message names the parameter, its value and the accepted kind of value, and proposes a correction. A value of the wrong
type is a `TypeError`, an unusable value of the right type a `ConfigurationError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from math import inf, isfinite
from os import PathLike
from reprlib import Repr
from sys import float_info
from typing import Any, TypeAlias

from typing_extensions import override

from tenantkit.exceptions import ConfigurationError

Advice: TypeAlias = Callable[[str, Any], str | None]
"""A function from a parameter's name and its refused value to a proposal for a correction, or ``None``."""


def _no_advice(_name: str, _value: object) -> None:
    """Propose nothing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of value that a parameter accepts."""

    takes: str
    """The kind in words: ``a number of at least 0``."""
    has_type: Callable[[Any], bool]
    has_value: Callable[[Any], bool] = lambda _: True
    """A check of the value, called if the type is right."""
    advice: Advice = _no_advice
    is_secret: bool = False
    """Whether the value may hold a password, so that no message shows it."""


def require(**arguments: tuple[Any, Kind]) -> None:
    """Raise unless each argument, given by its name, is of its kind.

    :raises TypeError: if one has the wrong type.
    :raises ConfigurationError: if one has the right type, and a value that cannot be used.
    """
    for name, (value, kind) in arguments.items():
        has_type = kind.has_type(value)
        if not has_type or not kind.has_value(value):
            error = ConfigurationError if has_type else TypeError
            is_proxy = value.__class__ is not type(value)  # and has the repr of another object
            shown = f"{name} is {_type_of(value)}" if kind.is_secret or is_proxy else f"{name}={_show(value)}"
            raise error(" ".join(filter(None, (f"{shown}: it takes {kind.takes}.", kind.advice(name, value)))))


def require_options(function: str, options: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise unless *function* has all of these options and each is of its kind.

    :raises TypeError: if there is no such option, or one has the wrong type.
    :raises ConfigurationError: if one has a value that cannot be used.
    """
    for name in sorted(options.keys() - kinds.keys()):
        meant = get_close_matches(name, kinds, n=1)
        hint = f"Did you mean {meant[0]}=?" if meant else f"Its options are {', '.join(kinds)}."
        raise TypeError(f"{function}() has no option {name!r}. {hint}")
    require(**{name: (value, kinds[name]) for name, value in options.items()})


def require_done(name: str, result: object) -> None:
    """Raise if a caller's function has not done its work, but returned an awaitable or a generator that would.

    :raises TypeError: if so.
    """
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(f"{name}= returned a generator, which is never read. Give a plain function that does the work.")
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(
            f"{name}= returned an awaitable, which is never awaited. Give a plain function that does the work."
        )


def _is(value: object, *kinds: type) -> bool:
    """Return `isinstance`, without narrowing the type for type checkers, since *value* may be anything."""
    return isinstance(value, kinds)


def plain(text: str) -> str:
    """Return the value of a string of any class: an enum's may be formatted as another text."""
    return str.__str__(text)


def _is_text(value: object) -> bool:
    return issubclass(type(value), str)  # isinstance() also accepts proxies, which PostgreSQL's drivers do not


def _is_texts(value: Any) -> bool:
    return _is(value, Collection) and not _is(value, str, bytes, Mapping) and all(map(_is_text, value))


def _advise_list(name: str, value: object) -> str | None:
    match value:
        case str():
            return f"Write {name}=[{value!r}]."
        case Iterable() if not isinstance(value, Collection):
            return f"Write {name}=list(...)."
        case _:
            return None


def _is_any(value: object, *tests: Callable[[Any], bool]) -> bool:
    functions = (value, getattr(value, "__call__", None))  # noqa: B004 - not a test
    return any(test(function) for function in functions for test in tests)


def _is_plain(value: object) -> bool:
    tests = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return callable(value) and not _is_any(value, *tests)


def _advise_function(_name: str, value: object) -> str | None:
    if _is_any(value, inspect.iscoroutinefunction):
        return "An async function would never be awaited: write a plain one."
    if callable(value) and not _is_plain(value):
        return "A generator would never be read: write a plain function."
    return None


def _is_not_blank(value: str) -> bool:
    return bool(value.strip())


def _is_storable(value: str) -> bool:
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value)


_LARGEST = 2**63 - 1
"""The largest whole number of PostgreSQL's ``bigint``."""
_TOO_LONG = 10**4300
"""The least whole number that Python neither reads nor writes as a string: see `sys.set_int_max_str_digits`."""


def _is_json(value: Any) -> bool:
    try:
        return _is_json_value(value)
    except RecursionError:  # it is nested too deeply, or holds itself
        return False


def _is_json_value(value: Any) -> bool:
    if _is(value, Mapping):
        return all(_is_text(name) and _is_storable(name) and _is_json_value(each) for name, each in value.items())
    if _is(value, list, tuple):
        return all(map(_is_json_value, value))
    if _is(value, str):
        return _is_storable(value)
    if _is(value, int):
        return bool(abs(value) < _TOO_LONG)
    return value is None or (_is(value, float) and isfinite(value))


def _advise_json(name: str, value: Any) -> str | None:
    if not _is(value, Mapping):
        return None
    for key, each in value.items():
        if not _is_text(key):
            return f"The name {key!r} is no string."
        if not _is_json(each):
            return f"{name}[{key!r}] is {_type_of(each)}."  # not its value, which may be a secret
    return None


TEXT = Kind("a string", _is_text)
NAME = Kind("a string that is not blank", _is_text, _is_not_blank)
STORABLE = Kind("a string without NUL and lone surrogates, which PostgreSQL cannot store", _is_text, _is_storable)
STORABLE_NAME = Kind(
    "a string that is not blank, without NUL and lone surrogates, which PostgreSQL cannot store",
    _is_text,
    lambda each: _is_not_blank(each) and _is_storable(each),
)
TEXTS = Kind("a collection of strings", _is_texts, advice=_advise_list)
NAMES = Kind(
    "a collection of strings that are not blank", _is_texts, lambda each: all(map(_is_not_blank, each)), _advise_list
)
TEXTS_IN_ORDER = Kind(
    "a list or tuple of strings", lambda each: _is(each, Sequence) and _is_texts(each), advice=_advise_list
)
SECRETS = Kind(
    "a string, or a list or tuple of strings",
    lambda each: _is_text(each) or TEXTS_IN_ORDER.has_type(each),
    is_secret=True,
)
FLAG = Kind("True or False", lambda each: isinstance(each, bool))
PATH = Kind(
    "a path", lambda each: isinstance(each, str | PathLike), lambda each: str(each) != "" and "\0" not in str(each)
)
CALLABLE = Kind("something that can be called", callable)
FUNCTION = Kind("a function", _is_plain, advice=_advise_function)
MAPPING = Kind("a mapping", lambda each: isinstance(each, Mapping), is_secret=True)
JSON_OBJECT = Kind(
    "a mapping of names to JSON values: strings without NUL and lone surrogates, finite numbers, booleans, None, and "
    "lists and dicts of these that are not nested too deeply, with strings for keys",
    lambda each: isinstance(each, Mapping),
    _is_json,
    _advise_json,
    is_secret=True,
)


def optional(kind: Kind) -> Kind:
    """Return the kind that accepts ``None`` too."""
    return Kind(
        f"{kind.takes}, or None",
        lambda each: each is None or kind.has_type(each),
        lambda each: each is None or kind.has_value(each),
        kind.advice,
        kind.is_secret,
    )


def either(*kinds: Kind) -> Kind:
    """Return the kind that accepts the values of all *kinds*."""
    return Kind(
        " or ".join(kind.takes for kind in kinds),
        lambda each: any(kind.has_type(each) for kind in kinds),
        lambda each: any(kind.has_type(each) and kind.has_value(each) for kind in kinds),
        lambda name, each: next(filter(None, (kind.advice(name, each) for kind in kinds)), None),
    )


def number(least: float | None = None) -> Kind:
    """Return the kind that accepts numbers, of at least *least*."""
    return _number("a number", int | float, least, float_info.max)


def whole(least: int | None = None) -> Kind:
    """Return the kind that accepts whole numbers that PostgreSQL has, of at least *least*."""
    return _number("a whole number", int, least, _LARGEST, lambda _, each: _advise_whole(each))


def _advise_whole(value: object) -> str | None:
    return "PostgreSQL has none that large." if isinstance(value, int) and abs(value) > _LARGEST else None


def _number(takes: str, kind: Any, least: float | None, greatest: float, advice: Advice = _no_advice) -> Kind:
    return Kind(
        takes if least is None else f"{takes} of at least {least}",
        lambda each: isinstance(each, kind) and not isinstance(each, bool),
        lambda each: (abs(each) <= greatest or each == inf) and (least is None or each >= least),  # NaN is not
        advice,
    )


def one_of(*choices: str) -> Kind:
    """Return the kind that accepts one of *choices*."""

    def advise(_name: str, value: object) -> str | None:
        meant = get_close_matches(str(value).lower(), choices, n=1, cutoff=0.5)
        return f"Did you mean {str(meant[0])!r}?" if meant else None

    *others, last = (repr(str(choice)) for choice in choices)
    return Kind(
        f"{', '.join(others)} or {last}", lambda _: True, lambda each: isinstance(each, str) and each in choices, advise
    )


def some_of(*choices: str) -> Kind:
    """Return the kind that accepts one of *choices*, or a collection of them."""
    one = one_of(*choices)
    return Kind(
        f"{one.takes}, or a collection of these",
        lambda each: _is_text(each) or _is_texts(each),
        lambda each: one.has_value(each) if _is_text(each) else all(map(one.has_value, each)),
        one.advice,
    )


def instance(kind: type, takes: str, advice: Advice = _no_advice) -> Kind:
    """Return the kind that accepts instances of a class; no message shows a value."""
    return Kind(takes, lambda each: isinstance(each, kind), advice=advice, is_secret=True)


class _Repr(Repr):
    """A `reprlib.Repr` that hides the fields of a `tenantkit.Tenant` or another dataclass, which may be secrets."""

    @override
    def repr_instance(self, x: Any, level: int) -> str:
        return f"{type(x).__qualname__}(...)" if is_dataclass(x) else super().repr_instance(x, level)

    @override
    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python writes no number that is longer than `sys.get_int_max_str_digits`
            return "<a number of more than 4300 digits>"


_repr = _Repr()
_repr.maxstring = _repr.maxother = 60


def _show(value: object) -> str:
    return _repr.repr(value)


def _type_of(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"of the type {type(value).__qualname__}"
