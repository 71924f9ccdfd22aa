"""The reference names what there is, all of it, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import runpy
from pathlib import Path
from types import ModuleType

import tenantkit
from tenantkit.exceptions import TenantkitError

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_line_reference_is_what_help_says() -> None:
    script = runpy.run_path(str(DOCS / "cli_reference.py"))
    assert (DOCS / "reference" / "cli.md").read_text() == script["render"](), "Run: python docs/cli_reference.py"


def test_every_error_is_explained() -> None:
    explained = set(re.findall(r"^## `(\w+)`$", (DOCS / "reference" / "errors.md").read_text(), re.MULTILINE))
    exist = {
        error.__name__
        for error in vars(tenantkit).values()
        if inspect.isclass(error) and issubclass(error, TenantkitError)
    }
    assert explained == exist


def test_every_public_name_is_in_the_api_reference() -> None:
    reference = (DOCS / "reference" / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", reference, re.MULTILINE))
    public = {
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if not name.endswith("Error")  # these have a page of their own
    }
    assert public - documented == set()
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_every_install_line_of_a_guide_brings_a_libpq() -> None:
    guides = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("howto/*.md")]
    lines = {
        line for guide in guides for line in re.findall(r"pip install ['.\w\[,\]-]+", guide.read_text()) if "[" in line
    }
    assert len(lines) >= 6
    assert [line for line in lines if not re.search(r"\[(.*,)?binary\b", line)] == []


def public_modules() -> list[ModuleType]:
    """Return the modules that say what is public."""
    found = [tenantkit]
    for each in pkgutil.walk_packages(tenantkit.__path__, "tenantkit."):
        if "templates" not in each.name:
            module = importlib.import_module(each.name)
            if hasattr(module, "__all__"):
                found.append(module)
    return found
