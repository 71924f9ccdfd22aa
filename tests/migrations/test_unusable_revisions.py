"""Every command refuses revision files that form no graph, and names them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.migrations import downgrade, migrate, preview, revision, stamp, status, upgrade_shared
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

CALLS: dict[str, Callable[[Tenancy], object]] = {
    "migrate": migrate,
    "status": status,
    "downgrade": lambda tenancy: downgrade(tenancy, "base"),
    "stamp": lambda tenancy: stamp(tenancy, "head"),
    "preview": preview,
    "revision": lambda tenancy: revision(tenancy, "x"),
    "autogenerate": lambda tenancy: revision(tenancy, "x", autogenerate=True),
    "create": lambda tenancy: tenancy.create("acme"),
}

BROKEN = {
    "two files with one revision": (
        ("a.py", "revision = 'two'\ndown_revision = 'one'"),
        ("b.py", "revision = 'two'\ndown_revision = 'one'"),
        ("a.py", "b.py", "both have the revision 'two'"),
    ),
    "a copy of a file": (
        ("one_copy.py", "revision = 'one'\ndown_revision = None"),
        ("b.py", "revision = 'two'\ndown_revision = 'one'"),
        ("one.py", "one_copy.py", "both have the revision 'one'"),
    ),
    "a missing predecessor": (
        ("a.py", "revision = 'two'\ndown_revision = 'gone'"),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py", "down_revision = 'gone'", "missing"),
    ),
    "a missing one of two predecessors": (
        ("a.py", "revision = 'two'\ndown_revision = ('one', 'gone')"),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py", "down_revision = 'gone'", "missing"),
    ),
    "a missing dependency": (
        ("a.py", "revision = 'two'\ndown_revision = 'one'\ndepends_on = 'gone'"),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py", "depends_on = 'gone'", "missing"),
    ),
    "a syntax error": (
        ("a.py", "revision = 'two'\ndown_revision = 'one'\nx ="),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py, line 3", "SyntaxError"),
    ),
    "an error": (
        ("a.py", "revision = 'two'\ndown_revision = 'one'\nimport no_such_module"),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py, line 3", "ModuleNotFoundError"),
    ),
    "an exit": (
        ("a.py", "revision = 'two'\ndown_revision = 'one'\nimport sys\nsys.exit()"),
        ("b.py", "revision = 'three'\ndown_revision = 'two'"),
        ("a.py, line 4", "SystemExit"),
    ),
}


@pytest.mark.parametrize("line", ["tenant", "shared"])
@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_form_no_graph_are_named(
    kind: str, line: str, environment: Environment, migrated_tenancy: Make
) -> None:
    *files, words = BROKEN[kind]
    environment.add("one", "pass", line=line)
    for name, content in files:
        (environment.folder / line / name).write_text(f"{content}\ndef upgrade(): ...\ndef downgrade(): ...\n")
    calls: dict[str, Callable[[Tenancy], object]] = (
        CALLS if line == "tenant" else {"shared": upgrade_shared, "status": status}
    )
    for name, call in calls.items():
        with pytest.raises((ConfigurationError, ProvisioningError)) as raised:
            call(migrated_tenancy())
        assert all(word in str(raised.value) for word in words), (name, str(raised.value))


def test_a_revision_may_depend_on_a_label(environment: Environment, migrated_tenancy: Make) -> None:
    for name, content in {
        "a.py": "revision = 'abcdef'\ndown_revision = None\nbranch_labels = ('crm',)",
        "b.py": "revision = 'bcdefa'\ndown_revision = None\ndepends_on = 'crm'",
        "c.py": "revision = 'cdefab'\ndown_revision = ('abcdef', 'bcdefa')",
    }.items():
        (environment.folder / "tenant" / name).write_text(f"{content}\ndef upgrade(): ...\ndef downgrade(): ...\n")
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    assert status(tenancy).heads == ("cdefab",)
