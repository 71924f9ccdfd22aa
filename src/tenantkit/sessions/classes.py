"""The session classes and session options that an application chooses."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, cast

from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.sessions.session import SharedSession, TenantSession
from tenantkit.sqlalchemy_versions import OptionsSession

_RESERVED = {"any_status", "bind", "binder", "binds", "class_", "placeholder", "sync_session_class", "tenant"}
_PASS_ON = ("sqlalchemy.", "tenantkit.", "flask_sqlalchemy.")
"""Packages whose session classes pass on, to `Session` itself, each option that they do not name."""


def check_session_class(chosen: Any, *, base: type = TenantSession, plain: type = Session) -> None:
    """Check the class of tenant sessions: a subclass of *base* in which no other session class precedes *base*.

    :param base: `TenantSession`, or its asynchronous twin.
    :param plain: SQLAlchemy's class that *base* is a subclass of.
    :raises ConfigurationError: if it is not; the message shows the class to write.
    """
    if not isinstance(chosen, type):
        raise ConfigurationError(
            f"session_class= needs a class, but {chosen!r} is none. Write a subclass of {base.__name__}."
        )
    if not issubclass(chosen, base):
        other = f", {_name(chosen)}" if issubclass(chosen, plain) and chosen is not plain else ""
        raise ConfigurationError(
            f"session_class={_name(chosen)} would not keep tenants apart, because it is no {base.__name__}. "
            f"Write: class App{plain.__name__}({base.__name__}{other}): ..."
        )
    before = chosen.__mro__[: chosen.__mro__.index(base)]
    if first := [each for each in before if issubclass(each, plain) and not issubclass(each, base)]:
        # Its get_bind() need not call the next one, which checks the tenant.
        raise ConfigurationError(
            f"In session_class={_name(chosen)}, {_name(first[0])} precedes {base.__name__} and may bypass it. "
            f"Write: class {chosen.__name__}({base.__name__}, {_name(first[0])}): ..."
        )


def check_sync_session_class(chosen: Any) -> None:
    """Check that the ``sync_session_class`` of an asynchronous session class is the one that each base needs.

    :raises ConfigurationError: if it is not; the message shows the class to write.
    """
    synchronous: type = chosen.sync_session_class
    for base in chosen.__mro__:
        needed: type = vars(cast("type", base)).get("sync_session_class", synchronous)
        if not issubclass(synchronous, needed):
            other = synchronous if needed is TenantSession else needed
            raise ConfigurationError(
                f"In {_name(chosen)}, sync_session_class is {_name(synchronous)}, but {_name(base)} needs a "
                f"{_name(needed)}. Write: class AppSession(TenantSession, {_name(other)}): ... "
                f"and sync_session_class = AppSession in {chosen.__name__}."
            )


def check_shared_session_class(chosen: Any, *, base: type = TenantSession, plain: type = Session) -> None:
    """Check the class of sessions for shared tables: a subclass of *plain* that needs no tenant.

    :raises ConfigurationError: if it is not.
    """
    if not isinstance(chosen, type) or not issubclass(chosen, plain) or issubclass(chosen, base):
        raise ConfigurationError(
            f"shared_session_class={_name(chosen)} cannot serve shared tables. "
            f"Give a subclass of {_name(plain)} that is no {base.__name__}."
        )


def shared_class(chosen: type[Session]) -> type[SharedSession]:
    """Return the class of sessions for shared tables that is also a *chosen* one.

    :raises ConfigurationError: if sessions of the chosen class need a tenant.
    """
    check_shared_session_class(chosen)
    if issubclass(SharedSession, chosen):
        return SharedSession
    return chosen if issubclass(chosen, SharedSession) else type(chosen.__name__, (SharedSession, chosen), {})


def check_session_options(options: Mapping[str, Any], chosen: type[Session]) -> None:
    """Check the options of every session, for the *chosen* class of tenant sessions.

    :raises ConfigurationError: if they set the tenant, the engine or the class; if the class has no such option; or if
        SQLAlchemy refuses the value.
    """
    if reserved := sorted(_RESERVED & options.keys()):
        raise ConfigurationError(
            f"session_options= cannot set {', '.join(reserved)}. The tenant is that of each session, the engine is the "
            "tenancy's, and the class is session_class=. Give options of sqlalchemy.orm.Session, such as autoflush."
        )
    known = _options_of(chosen)
    for name in options:
        if known is None or name in known:
            continue
        meant = get_close_matches(str(name), known - _RESERVED, n=1)
        hint = f"Did you mean {meant[0]!r}?" if meant else "Give options of sqlalchemy.orm.Session."
        raise ConfigurationError(f"session_options= holds {name!r}, which {_name(chosen)} does not take. {hint}")
    plain = _options_of(OptionsSession) or ()
    try:
        OptionsSession(**{name: value for name, value in options.items() if name in plain})
    except (ArgumentError, TypeError) as error:
        raise ConfigurationError(f"session_options= cannot be used: {as_clause(error)}.") from error


def _options_of(chosen: type) -> set[str] | None:
    """Return the options of a session class; ``None`` if one of its bases takes options that it does not name."""
    found: set[str] = set()
    for base in chosen.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = _parameters(base)
            found |= parameters.keys()
            if _is_open(parameters) and not base.__module__.startswith(_PASS_ON):
                return None
    return found


def _parameters(base: type) -> Mapping[str, Parameter]:
    return signature(base.__init__).parameters  # type: ignore[misc]


def _is_open(parameters: Mapping[str, Parameter]) -> bool:
    return any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())


def _name(chosen: Any) -> str:
    return f"{chosen.__module__}.{chosen.__qualname__}" if isinstance(chosen, type) else repr(chosen)
