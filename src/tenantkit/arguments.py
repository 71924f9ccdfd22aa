"""Checks of the arguments that callers give to public functions.

A message names the parameter, its value and what it takes, and says what was probably meant. A value of the wrong type
is a `TypeError`, one of the right type that cannot be used a `ConfigurationError`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os import PathLike
from reprlib import Repr
from typing import Any, TypeAlias

from tenantkit.exceptions import ConfigurationError

Advice: TypeAlias = Callable[[str, Any], str | None]
"""Given a parameter's name and the value that is refused, what to write instead, if that can be guessed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a parameter takes."""

    takes: str
    """In words: ``a number of at least 0``."""
    has_type: Callable[[Any], bool]
    has_value: Callable[[Any], bool] = lambda _: True
    """Called if the type is right."""
    advice: Advice = lambda *_: None
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
            shown = f"{name} is {_type_of(value)}" if kind.is_secret else f"{name}={_show(value)}"
            raise error(" ".join(filter(None, (f"{shown}: it takes {kind.takes}.", kind.advice(name, value)))))


def require_options(function: str, options: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise unless *function* has all of these options, and each is of its kind.

    :raises TypeError: if there is no such option, or one has the wrong type.
    :raises ConfigurationError: if one has a value that cannot be used.
    """
    for name in sorted(options.keys() - kinds.keys()):
        meant = get_close_matches(name, kinds, n=1)
        hint = f"Did you mean {meant[0]}=?" if meant else f"Its options are {', '.join(kinds)}."
        raise TypeError(f"{function}() has no option {name!r}. {hint}")
    require(**{name: (value, kinds[name]) for name, value in options.items()})


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) and all(map(_is_text, value))


def _advise_list(name: str, value: object) -> str | None:
    match value:
        case str():
            return f"Write {name}=[{value!r}]."
        case Iterable() if not isinstance(value, Collection):
            return f"Write {name}=list(...)."
        case _:
            return None


def _is_async(value: object) -> bool:
    return any(map(inspect.iscoroutinefunction, (value, getattr(value, "__call__", None))))  # noqa: B004 - not a test


def _advise_function(_name: str, value: object) -> str | None:
    return "An async function would never be awaited: write a plain one." if _is_async(value) else None


def _is_json(value: object) -> bool:
    match value:
        case None | bool() | int():
            return True
        case float():
            return value - value == 0  # neither infinite nor NaN
        case str():
            return "\0" not in value and not any("\ud800" <= each <= "\udfff" for each in value)
        case Mapping():
            return all(isinstance(name, str) and _is_json(name) and _is_json(each) for name, each in value.items())
        case list() | tuple():
            return all(map(_is_json, value))
        case _:
            return False


TEXT = Kind("a string", _is_text)
NAME = Kind("a string that is not empty", _is_text, bool)
TEXTS = Kind("a collection of strings", _is_texts, advice=_advise_list)
TEXTS_IN_ORDER = Kind(
    "a list or tuple of strings", lambda each: isinstance(each, Sequence) and _is_texts(each), advice=_advise_list
)
FLAG = Kind("True or False", lambda each: isinstance(each, bool))
PATH = Kind("a path", lambda each: isinstance(each, str | PathLike), lambda each: str(each) != "")
CALLABLE = Kind("something that can be called", callable)
FUNCTION = Kind("a function", lambda each: callable(each) and not _is_async(each), advice=_advise_function)
MAPPING = Kind("a mapping", lambda each: isinstance(each, Mapping), is_secret=True)
JSON_OBJECT = Kind(
    "a mapping of names to JSON values: strings, numbers, booleans, None, lists and dicts with strings for keys",
    lambda each: isinstance(each, Mapping),
    _is_json,
)


def optional(kind: Kind) -> Kind:
    """Return the kind that takes ``None`` too."""
    return replace(
        kind,
        takes=f"{kind.takes}, or None",
        has_type=lambda each: each is None or kind.has_type(each),
        has_value=lambda each: each is None or kind.has_value(each),
    )


def either(*kinds: Kind) -> Kind:
    """Return the kind that takes what one of *kinds* takes."""
    return Kind(
        " or ".join(kind.takes for kind in kinds),
        lambda each: any(kind.has_type(each) for kind in kinds),
        lambda each: any(kind.has_type(each) and kind.has_value(each) for kind in kinds),
        lambda name, each: next(filter(None, (kind.advice(name, each) for kind in kinds)), None),
    )


def number(least: float | None = None) -> Kind:
    """Return the kind that takes numbers, of at least *least*."""
    return _number("a number", int | float, least)


def whole(least: int | None = None) -> Kind:
    """Return the kind that takes whole numbers, of at least *least*."""
    return _number("a whole number", int, least)


def _number(takes: str, kind: Any, least: float | None) -> Kind:
    return Kind(
        takes if least is None else f"{takes} of at least {least}",
        lambda each: isinstance(each, kind) and not isinstance(each, bool),
        lambda each: each == each and (least is None or each >= least),  # noqa: PLR0124 - not NaN
    )


def one_of(*choices: str) -> Kind:
    """Return the kind that takes one of *choices*."""

    def advise(_name: str, value: object) -> str | None:
        meant = get_close_matches(str(value).lower(), choices, n=1, cutoff=0.5)
        return f"Did you mean {str(meant[0])!r}?" if meant else None

    *others, last = (repr(str(choice)) for choice in choices)
    return Kind(
        f"{', '.join(others)} or {last}", lambda _: True, lambda each: isinstance(each, str) and each in choices, advise
    )


def some_of(*choices: str) -> Kind:
    """Return the kind that takes one of *choices*, or a collection of them."""
    one = one_of(*choices)
    return replace(
        one,
        takes=f"{one.takes}, or a collection of these",
        has_type=lambda each: _is_text(each) or _is_texts(each),
        has_value=lambda each: one.has_value(each) if isinstance(each, str) else all(map(one.has_value, each)),
    )


def instance(kind: type, takes: str, advice: Advice = lambda *_: None) -> Kind:
    """Return the kind that takes instances of a class; no message shows a value."""
    return Kind(takes, lambda each: isinstance(each, kind), advice=advice, is_secret=True)


_repr = Repr()
_repr.maxstring = _repr.maxother = 60


def _show(value: object) -> str:
    return _repr.repr(value)


def _type_of(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"of the type {type(value).__qualname__}"
