"""The reference is complete and names nothing that does not exist."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest

import tenantkit
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.exceptions import TenantkitError

pytestmark = pytest.mark.each_value

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_line_reference_equals_the_help() -> None:
    script = runpy.run_path(str(DOCS / "cli_reference.py"))
    assert (DOCS / "reference" / "cli.md").read_text() == script["render"](), "Run: python docs/cli_reference.py"


def test_every_error_is_explained() -> None:
    explained = set(re.findall(r"^## `(\w+)`$", (DOCS / "reference" / "errors.md").read_text(), re.MULTILINE))
    exist = {
        error.__name__
        for error in (getattr(tenantkit, name) for name in tenantkit.__all__)
        if inspect.isclass(error) and issubclass(error, TenantkitError)
    }
    assert explained == exist


def test_every_public_name_is_in_the_api_reference() -> None:
    reference = (DOCS / "reference" / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", reference, re.MULTILINE))
    at_top = {getattr(tenantkit, name) for name in tenantkit.__all__}
    public = {
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if module is tenantkit or getattr(module, name) not in at_top
    }
    assert public - documented == set()
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_the_tests_that_show_what_is_protected_exist() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (DOCS / "reference" / "protection.md").read_text())
    assert len(named) > 30
    files = {file: (DOCS.parent / "tests" / file).read_text() for file, _ in named}
    assert [(file, test) for file, test in named if f"def {test}(" not in files[file]] == []


@pytest.mark.parametrize(
    "name",
    [
        "adoption",
        "asgi",
        "asyncio",
        "drift",
        "embedded",
        "fastapi",
        "flask",
        "flask_sqlalchemy",
        "lifecycle",
        "lint",
        "logging",
        "migrations",
        "resolvers",
        "resolvers.jwt",
        "spares",
        "usage",
        "web.session_cookies",
        "wsgi",
    ],
)
def test_a_module_that_applications_import_declares_its_public_names(name: str) -> None:
    assert f"tenantkit.{name}" in {module.__name__ for module in public_modules()}


def test_every_word_of_the_vocabulary_is_explained_once() -> None:
    terms = re.findall(r"^(\w[^\n]*)\n: ", (DOCS / "reference" / "vocabulary.md").read_text(), re.MULTILINE)
    words = [word for term in terms for word in term.split(", ")]
    assert len(words) == len(set(words))
    assert {"tenant", "placement", "binding", "fleet", "wave", "run", "ledger", "shared revisions"} <= {*words}


def test_names_that_documents_and_examples_import_are_in_the_api_reference() -> None:
    reference = (DOCS / "reference" / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", reference, re.MULTILINE))
    errors = set(re.findall(r"^## `(\w+)`$", (DOCS / "reference" / "errors.md").read_text(), re.MULTILINE))
    examples = [file for file in (DOCS.parent / "examples").rglob("*.py") if "tests" not in file.parts]
    imported = {
        f"{module}.{name.split()[0]}"
        for file in [DOCS.parent / "README.md", *DOCS.rglob("*.md"), *examples]
        for module, names in re.findall(r"^from (tenantkit[\w.]*) import ([\w, ]+)$", file.read_text(), re.MULTILINE)
        for name in names.split(", ")
        if name not in errors
    }
    pages = [DOCS.parent / "README.md", *(file for file in DOCS.rglob("*.md") if file.name != "api.md")]
    named = {name for file in pages for name in re.findall(r"`(tenantkit(?:\.\w+)+)[(`]", file.read_text())}
    owners = {"tenantkit", "tenantkit.web", *documented}
    assert {name for name in named - documented if name.rpartition(".")[0] not in owners} == set()
    assert {"tenantkit.Tenancy", "tenantkit.fastapi.CurrentTenant"} <= imported
    modules = {f"tenantkit.{name}" for name in ("lifecycle", "transfer", "usage", "web.session_cookies")}
    assert imported - documented == modules


def test_the_reference_of_a_tenancy_has_the_methods_of_both_kinds() -> None:
    reference = (DOCS / "reference" / "api.md").read_text()
    for kind in (Tenancy, AsyncTenancy):
        name = f"{kind.__module__}.{kind.__name__}".replace("tenantkit.tenancy.", "tenantkit.")
        found = re.search(rf"^\.\. autoclass:: {name}\n((?:   :.*\n)*)", reference, re.MULTILINE)
        assert found
        excluded = set(re.findall(r"\w+", "".join(re.findall(r"^   :exclude-members:(.*)$", found[1], re.MULTILINE))))
        own = dir(kind) if ":inherited-members:" in found[1] else vars(kind)
        shown = {each for each in own if not each.startswith("_")} - excluded
        assert {each for each in excluded if not hasattr(kind, each)} == set()
        both = {each for each in dir(AsyncTenancy) if not each.startswith("_")}
        assert shown - {"shared_schemas", "placeholder"} == both - ({"run"} if kind is Tenancy else set())


def test_every_install_line_of_a_guide_brings_a_libpq() -> None:
    guides = [DOCS.parent / "README.md", *DOCS.glob("*.md"), *DOCS.glob("howto/**/*.md")]
    lines = {
        line for guide in guides for line in re.findall(r"pip install ['.\w\[,\]-]+", guide.read_text()) if "[" in line
    }
    assert len(lines) >= 10
    assert [line for line in lines if not re.search(r"\[(.*,)?binary\b", line)] == []


def public_modules() -> list[ModuleType]:
    """Return the modules that declare their public names."""
    found = [tenantkit]
    for each in pkgutil.walk_packages(tenantkit.__path__, "tenantkit."):
        if "templates" not in each.name:
            module = importlib.import_module(each.name)
            if hasattr(module, "__all__"):
                found.append(module)
    return found
