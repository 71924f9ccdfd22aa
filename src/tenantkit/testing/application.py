"""The application that is tested."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

from tenantkit.cli import application, pyproject
from tenantkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from tenantkit.testing.databases import AnyTenancy


def load_application(folder: Path) -> AnyTenancy:
    """Return the tenancy that the nearest ``pyproject.toml``, from *folder* upwards, names for the command line.

    :raises ConfigurationError: if none does, or it cannot be loaded.
    """
    found = pyproject.find(folder, "app")
    if found is None:
        raise ConfigurationError(
            'No application is named. Write app = "package.module:attribute" under [tool.tenantkit] in pyproject.toml, '
            "or override the fixture tenantkit_application in conftest.py: it returns the tenancy."
        )
    file, reference = found
    with chdir(file.parent):
        loaded: AnyTenancy = application.load(str(reference))
    return loaded
