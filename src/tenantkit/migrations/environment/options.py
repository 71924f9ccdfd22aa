"""The options of Alembic's ``context.configure``, from ``env.py`` and from tenantkit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from alembic.runtime.environment import EnvironmentContext

from tenantkit.exceptions import ConfigurationError
from tenantkit.naming import first_lines

_HOOK = "process_revision_directives"

_SET_BY_TENANTKIT = frozenset(
    {
        "as_sql",
        "connection",
        "dialect_name",
        "dialect_opts",
        "include_schemas",
        "starting_rev",
        "target_metadata",
        "transaction_per_migration",
        "transactional_ddl",
        "url",
        "version_table",
        "version_table_pk",
        "version_table_schema",
    }
)

_KNOWN = inspect.signature(EnvironmentContext.configure).parameters.keys() - {"self", "kw"}


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options that ``env.py`` passes: Alembic accepts any name, and ignores unknown ones without a message.

    :raises ConfigurationError: if an option is tenantkit's to set.
    :raises TypeError: if an option is misspelt.
    """
    if taken := _SET_BY_TENANTKIT & options.keys():
        raise ConfigurationError(f"env.py passes {first_lines(taken)}, which tenantkit sets itself. Remove it there.")
    for name in sorted(options.keys() - _KNOWN):
        if meant := get_close_matches(name, _KNOWN, n=1, cutoff=0.8):
            raise TypeError(f"env.py passes {name}=, which Alembic does not know. Did you mean {meant[0]}=?")


def merge(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of both. An object must pass both filters; hooks of env.py run first."""
    merged = {"compare_server_default": True, **theirs, **ours}
    for name in ("include_name", "include_object"):
        merged[name] = _all_agree([each[name] for each in (ours, theirs) if each.get(name) is not None])
    hooks = [each[_HOOK] for each in (theirs, ours) if each.get(_HOOK) is not None]
    merged[_HOOK] = _each_in_turn(hooks) if hooks else None
    merged["render_item"] = _first_that_renders(
        [each["render_item"] for each in (theirs, ours) if "render_item" in each]
    )
    return merged


def _all_agree(filters: Sequence[Callable[..., bool]]) -> Callable[..., bool] | None:
    return (lambda *item: all(each(*item) for each in filters)) if filters else None


def _each_in_turn(hooks: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        for hook in hooks:
            hook(*arguments)

    return call


def _first_that_renders(renderers: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    return lambda *item: next((text for each in renderers if (text := each(*item)) is not False), False)


def as_list(hooks: Any) -> list[Any]:
    """Return hooks as a list: Alembic accepts one, several, or none."""
    if hooks is None:
        return []
    return [*hooks] if isinstance(hooks, list | tuple) else [hooks]  # pyright: ignore[reportUnknownVariableType]
