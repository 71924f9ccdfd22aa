"""The application that a command works on."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import typer
from sqlalchemy import MetaData

from tenantkit.cli import pyproject
from tenantkit.cli.display.errors import UsageError
from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.garbage import resume
from tenantkit.tenancy import Tenancy
from tenantkit.user_code import text_of, without_exits


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that every command has."""

    app: str | None = None
    verbose: bool = False


@contextmanager
def application(context: typer.Context) -> Generator[Tenancy]:
    """Yield the tenancy that ``--app``, ``TENANTKIT_APP`` or ``pyproject.toml`` names, and close it.

    :raises UsageError: if none of them does, or the name is malformed.
    :raises ConfigurationError: if the named object cannot be loaded, or is not a tenancy.
    """
    settings: Settings = context.obj
    folder = current_folder()
    with without_exits("The application"):
        found = load(settings.app or _from_pyproject(folder))
        tenancy = found if isinstance(found, Tenancy) else found.sync
        resume()  # see tenantkit.__main__
        try:
            yield tenancy
        finally:
            tenancy.close()


def current_folder() -> Path:
    """Return the current folder.

    :raises ConfigurationError: if it does not exist any more.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise ConfigurationError("The current folder does not exist any more. Go to the project's folder.") from error


def complete_key(context: typer.Context, incomplete: str) -> list[str]:
    """Return the keys that begin with *incomplete*, for a shell; nothing if the database does not answer quickly."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "2")
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            context.obj = Settings(context.find_root().params.get("app"))
            with application(context) as tenancy:
                return [tenant.key for tenant in tenancy.list(search=incomplete) if tenant.key.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a shell that completes a line is no place for errors
        return []


def _from_pyproject(start: Path) -> str:
    """Return the application that the nearest ``pyproject.toml`` names, and change to its folder.

    Relative paths in the application, such as that of its migrations, then mean the
    same in every folder of the project.
    """
    found = find_in_pyproject(start)
    if found is None:
        raise UsageError(
            "No application is named. Use -a package.module:attribute, set TENANTKIT_APP, "
            'or write app = "package.module:attribute" under [tool.tenantkit] in pyproject.toml.'
        )
    file, app = found
    os.chdir(file.parent)
    return app


def find_in_pyproject(start: Path) -> tuple[Path, str] | None:
    """Return the nearest ``pyproject.toml``, from *start* upwards, that names an application, and the name.

    :raises ConfigurationError: if the file cannot be read, or names none by a string.
    """
    found = pyproject.find(start, "app")
    if found is not None and not isinstance(found[1], str):
        raise ConfigurationError(f'In {found[0]}, [tool.tenantkit] app is no string. Write "package.module:attribute".')
    return found


def load(reference: str) -> Any:
    """Return the `Tenancy` or `AsyncTenancy` that *reference* names; raises as `load_object` does.

    :raises ConfigurationError: if it is something else.
    """
    found = load_object(reference)
    if not isinstance(found, Tenancy) and not isinstance(getattr(found, "sync", None), Tenancy):
        raise ConfigurationError(
            f"{reference!r} is a {type(found).__name__}, not a Tenancy or AsyncTenancy. "
            "Name the Tenancy itself, or a function without parameters that returns it."
        )
    return found


def load_metadata(reference: str) -> MetaData:
    """Return the metadata that *reference* names, or that of a declarative base; raises as `load_object` does.

    :raises ConfigurationError: if it is something else.
    """
    found = load_object(reference)
    found = getattr(found, "metadata", found)
    if not isinstance(found, MetaData):
        raise ConfigurationError(
            f"{reference!r} is a {type(found).__name__}, not a MetaData. Name it, or the base class of the models."
        )
    return found


def load_object(reference: str) -> Any:
    """Return the object that *reference* names; its module may be in the current folder.

    :raises UsageError: if the reference is malformed.
    :raises ConfigurationError: if it cannot be loaded.
    """
    # The last colon: the first one may be part of a path.
    module_name, _, attribute = reference.rpartition(":")
    is_path = "/" in module_name or module_name.endswith(".py")
    if not module_name or not attribute or (module_name.startswith(".") and not is_path):
        raise UsageError(
            f"{reference!r} names no attribute of a module. "
            "Write it as package.module:attribute, or as path/to/module.py:attribute."
        )
    # For a console script, the first entry is the script's folder; for `python -m`, it is this one.
    _import_from(Path.cwd())
    if is_path:
        module_name = _module_in(Path(module_name), reference)
    with redirect_stdout(sys.stderr):  # the application's output must not mix with the command's data
        return _call_factory(reference, _get_attribute(reference, _import(reference, module_name), attribute))


def _import_from(folder: Path) -> None:
    if (place := str(folder)) not in sys.path:
        sys.path.insert(0, place)


def _module_in(given: Path, reference: str) -> str:
    """Make the module in a file or package folder importable, and return its dotted name.

    As in Flask, the name begins at the outermost package, which is a folder with an ``__init__.py``.
    """
    candidates = (given, given.parent / f"{given.name}.py", given / "__init__.py")
    file = next((each for each in candidates if each.is_file()), None)
    if file is None:
        raise ConfigurationError(
            f"There is no file {str(given.absolute())!r}, which {reference!r} names. "
            "Correct the path, or run the command in the project's folder."
        )
    path = (file.parent if file.name == "__init__.py" else file.with_suffix("")).absolute()
    name, folder = path.name, path.parent
    while (folder / "__init__.py").is_file():
        name, folder = f"{folder.name}.{name}", folder.parent
    _import_from(folder)
    return name


def _import(reference: str, module_name: str) -> ModuleType:
    try:
        return import_module(module_name)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"There is no module {error.name!r}, which {reference!r} names: neither installed nor in {Path.cwd()}. "
                "Correct the name, or run the command in the project's folder."
            ) from error
        raise _broken(reference, "importing", error) from error


def _get_attribute(reference: str, module: ModuleType, attribute: str) -> Any:
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        attributes: dict[str, object] = vars(module)
        others = sorted(name for name, value in attributes.items() if isinstance(value, Tenancy))
        hint = f"It has {module.__name__}:{others[0]}." if others else "Correct the name after the colon."
        raise ConfigurationError(f"{module.__name__!r} has no attribute {attribute!r}. {hint}") from error
    except (Exception, SystemExit) as error:  # of a property
        raise _broken(reference, "reading", error) from error


def _call_factory(reference: str, found: Any) -> Any:
    if not inspect.isroutine(found):
        return found
    if inspect.iscoroutinefunction(found):
        raise ConfigurationError(
            f"{reference!r} is an async function, which no command awaits. "
            "Name the Tenancy itself, or a plain function without parameters that returns it."
        )
    try:
        return found()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(reference, "calling", error) from error


def _broken(reference: str, doing: str, error: BaseException) -> ConfigurationError:
    said = as_clause(f"{type(error).__name__}: {text_of(error)}")
    return ConfigurationError(
        f"The application is broken: {doing} {reference!r} raised {said}. Run the command with -v for the traceback."
    )
