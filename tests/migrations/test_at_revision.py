"""`at_revision`: whether a tenant's tables include a revision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError, MigrationError, TenantNotFoundError
from tenantkit.migrations import downgrade, migrate
from tenantkit.migrations.graph.revision_graph import RevisionGraph
from tenantkit.registry import revisions
from tenantkit.revision_files import read_graph
from tests.migrations.environments import Environment

R1 = 'op.create_table("a", sa.Column("x", sa.Integer), schema="tenant")'


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(R1, ("acme", "beta"), revision="r1")


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """Two tenants, one of them at the second of three revisions."""
    environment.add("r1", R1)
    environment.add("r2", 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")')
    environment.add("r3", "pass")
    tenancy = migrated_tenancy()
    migrate(tenancy, "r2", tenants=["acme"], jobs=0)
    return tenancy


@pytest.fixture
def any_fleet(fleet: Tenancy, environment: Environment, make_any_tenancy: Callable[..., Any]) -> Any:
    return make_any_tenancy(migrations=environment.folder)


def test_each_tenant_has_its_own_revision(any_fleet: Any) -> None:
    found = {key: [any_fleet.at_revision(key, revision) for revision in ("r1", "r2", "r3")] for key in ("acme", "beta")}
    assert found == {"acme": [True, True, False], "beta": [True, False, False]}
    assert any_fleet.at_revision(any_fleet.get("acme"), "r2") is True


def test_a_migration_by_another_process_is_seen_at_once(any_fleet: Any, fleet: Tenancy) -> None:
    assert not any_fleet.at_revision("beta", "r3")
    migrate(fleet, jobs=0)
    assert any_fleet.at_revision("beta", "r3")


def test_true_is_cached_for_seconds_without_queries(fleet: Tenancy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    event.listen(fleet.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    assert fleet.at_revision("acme", "r2")
    before = len(asked)
    for _ in range(10):
        assert fleet.at_revision("acme", "r2")
        assert fleet.at_revision("acme", "r1")
    assert len(asked) == before

    downgrade(fleet, "r1", tenants=["acme"], jobs=0)
    assert fleet.at_revision("acme", "r2")  # while it is cached
    monkeypatch.setattr("tenantkit.registry.revisions.monotonic", lambda: 1e12)
    assert not fleet.at_revision("acme", "r2")


def test_a_change_in_the_registry_clears_the_cache(fleet: Tenancy) -> None:
    assert fleet.at_revision("acme", "r2")
    downgrade(fleet, "r1", tenants=["acme"], jobs=0)
    fleet.cache.forget("acme")  # as a notification does
    assert not fleet.at_revision("acme", "r2")


def test_a_revision_of_newer_code_is_known(
    any_fleet: Any, fleet: Tenancy, environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    assert not any_fleet.at_revision("beta", "r3")  # the files have been read
    environment.add("r4", "pass")
    newer = migrated_tenancy()
    migrate(newer, jobs=0)
    newer.create("gamma")
    assert all(any_fleet.at_revision(key, "r3") for key in ("acme", "beta", "gamma"))
    with fleet.engine.connect() as connection:  # later changes of the files are recorded, too
        environment.add("r4", "pass", after="r2")
        migrate(migrated_tenancy(), "r3", jobs=0)
        assert revisions.read_order(connection)["r4"] == ("r2",)


def test_a_revision_that_a_failed_downgrade_may_have_removed_is_not_included(
    any_fleet: Any, fleet: Tenancy, environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    add = 'op.add_column("a", sa.Column("z", sa.Integer), schema="tenant")'
    drop = 'with op.get_context().autocommit_block():\n    op.execute("ALTER TABLE a DROP COLUMN IF EXISTS z")\n    '
    environment.add("r4", add, drop + 'op.execute("SELECT 1 / 0")')
    migrate(migrated_tenancy(), jobs=0)
    with pytest.raises(MigrationError, match="division by zero"):
        downgrade(migrated_tenancy(), "r3", tenants=["acme"], jobs=0)
    assert [any_fleet.at_revision("acme", revision) for revision in ("r3", "r4", "r4")] == [True, False, False]
    assert any_fleet.at_revision("beta", "r4")

    environment.add("r4", add, drop + "pass", after="r3")
    downgrade(migrated_tenancy(), "r3", tenants=["acme"], jobs=0)
    migrate(migrated_tenancy(), jobs=0)
    assert any_fleet.at_revision("acme", "r4")


def test_a_tenant_at_an_unknown_revision_is_an_error(any_fleet: Any, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t_acme.alembic_version SET version_num = 'other'")
    with pytest.raises(ConfigurationError, match="'acme' is at revision other, which is not in"):
        any_fleet.at_revision("acme", "r1")


def test_a_revision_that_does_not_exist_is_refused(any_fleet: Any) -> None:
    with pytest.raises(ConfigurationError, match="There is no revision 'r'"):
        any_fleet.at_revision("acme", "r")
    with pytest.raises(TenantNotFoundError):
        any_fleet.at_revision("nobody", "r1")


def test_without_migrations_at_revision_is_an_error(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    with pytest.raises(ConfigurationError, match="has no revisions"):
        any_tenancy.at_revision("acme", "r1")


def test_files_are_parsed_as_alembic_loads_them(environment: Environment) -> None:
    environment.add("a1", "pass")
    environment.add("a2", "pass")
    environment.add("b1", "pass", after="base")
    environment.add("m", "pass", after=("a2", "b1"))
    file = environment.folder / "tenant" / "m.py"
    file.write_text(file.read_text() + "\ndepends_on = ('a1',)\n")
    late = environment.folder / "tenant" / "late.py"
    late.write_text(
        "from __future__ import annotations\nrevision: str = 'late'\ndown_revision: str | None = ('m')\n"
        "depends_on = ['b1']\n@print\ndef upgrade(): ...\n"
    )
    found = read_graph(environment.folder / "tenant")
    expected = RevisionGraph(environment.folder, "tenant").order()
    assert {revision: sorted(before) for revision, before in found.items()} == {
        revision: sorted(before) for revision, before in expected.items()
    }
    assert expected["late"] == ["m", "b1"]


def test_computed_revision_variables_are_refused(environment: Environment) -> None:
    (environment.folder / "tenant" / "x.py").write_text("revision = str(1)\n")
    with pytest.raises(ConfigurationError, match="as plain strings"):
        read_graph(environment.folder / "tenant")


def test_the_repositorys_own_revisions_are_parsed_alike() -> None:
    folder = Path("migrations").absolute()
    for name in ("tenant", "shared"):
        found = read_graph(folder / name)
        assert {revision: list(before) for revision, before in found.items()} == RevisionGraph(folder, name).order()


def test_at_revision_imports_no_alembic(fleet: Tenancy, environment: Environment) -> None:
    code = """
import sys
from sqlalchemy import MetaData
from tenantkit import Tenancy
tenancy = Tenancy(sys.argv[1], tenant=MetaData(schema="tenant"), migrations=sys.argv[2], listen=False)
assert tenancy.at_revision("acme", "r2")
assert not [name for name in sys.modules if name.partition(".")[0] in {"alembic", "mako"}]
tenancy.close()
"""
    url = fleet.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", code, url, str(environment.folder)], check=True)
    assert revisions.TRUSTED_FOR <= 10
