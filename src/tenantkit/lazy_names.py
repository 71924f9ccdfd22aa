"""Names of a package that are imported from its modules on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazy_names(package: dict[str, Any], modules: Sequence[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, for the names of its ``__all__``.

    :param package: the globals of the package.
    :param modules: its modules with these names, in the order of their imports.
    """
    path, names = package["__name__"], package["__all__"]

    def import_name(name: str) -> Any:
        if name not in names:  # such as a module that is about to be imported
            raise AttributeError(f"module {path!r} has no attribute {name!r}")
        found = (vars(import_module(f"{path}.{module}")) for module in modules)
        value = package[name] = next(module[name] for module in found if name in module)
        return value

    def list_names() -> list[str]:
        return sorted({*package, *names})

    return import_name, list_names
