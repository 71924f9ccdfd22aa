"""Phases: migrations before and after a deployment, and proposals for a new revision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError, MigrationError
from tenantkit.lint import lint, squawk
from tenantkit.migrations import (
    downgrade,
    downgrade_run,
    migrate,
    preview,
    revision,
    stamp,
    status,
    unfinished,
    upgrade_shared,
)
from tenantkit.migrations.graph.revision_graph import RevisionGraph
from tenantkit.migrations.planning.phases import limit
from tests.migrations.environments import Environment

FIRST = 'op.create_table("a", sa.Column("x", sa.Integer), sa.Column("old", sa.Integer), schema="tenant")'
EXPAND = 'op.add_column("a", sa.Column("new", sa.Integer), schema="tenant")'
CONTRACT = 'op.drop_column("a", "old", schema="tenant")'


def columns(engine: Engine, *keys: str) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return {
            key: sorted(column["name"] for column in sa.inspect(connection).get_columns("a", schema=f"t_{key}"))
            for key in keys
        }


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(FIRST, ("acme", "beta"), revision="r1")


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Callable[..., Tenancy]) -> Tenancy:
    """Two tenants, before a revision that expands and one that contracts."""
    environment.add("r1", FIRST)
    environment.add("r2", EXPAND, phase="expand")
    environment.add("r3", CONTRACT, phase="contract")
    return migrated_tenancy()


def test_the_phase_expand_stops_before_the_first_revision_that_contracts(fleet: Tenancy, engine: Engine) -> None:
    report = migrate(fleet, phase="expand", jobs=0)
    assert columns(engine, "acme", "beta") == {key: ["new", "old", "x"] for key in ("acme", "beta")}
    assert (report.target, len(report.migrated)) == ("r2", 2)

    again = migrate(fleet, phase="expand", jobs=0)
    assert (again.target, again.unchanged, again.outcomes) == ("r2", 2, ())

    rest = migrate(fleet, jobs=0)
    assert columns(engine, "acme", "beta") == {key: ["new", "x"] for key in ("acme", "beta")}
    assert rest.target == "head"


@pytest.mark.parametrize("phase", ["expand", "contract"])
def test_only_a_migration_has_a_phase(fleet: Tenancy, engine: Engine, phase: Any) -> None:
    report = migrate(fleet, jobs=0)
    calls: list[Callable[[], object]] = [
        lambda: downgrade(fleet, "r1", phase=phase),
        lambda: downgrade_run(fleet, report.run_id, phase=phase),
        lambda: stamp(fleet, "r1", phase=phase),
        lambda: preview(fleet, "r1", command="downgrade", phase=phase),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=f"Only a migration has a phase. Leave out phase='{phase}'."):
            call()
    assert {placement.revision for placement in status(fleet).placements} == {"r3"}
    assert columns(engine, "acme", "beta") == {key: ["new", "x"] for key in ("acme", "beta")}


def test_status_checks_the_phase_expand(
    fleet: Tenancy, environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    def states(phase: Any = None) -> list[str]:
        found = status(migrated_tenancy(), phase=phase)
        assert found.is_current == ({each.state for each in found.placements} == {"current"})
        return [each.state for each in found.placements]

    assert states("expand") == ["behind", "behind"]
    migrate(fleet, phase="expand", tenants=["acme"], jobs=0)
    assert states("expand") == ["current", "behind"]
    migrate(fleet, phase="expand", jobs=0)
    assert (states("expand"), states()) == (["current", "current"], ["behind", "behind"])

    environment.add("r4", 'op.execute("SELECT 1")', phase="expand")  # it follows the one that contracts
    assert states("expand") == ["behind", "behind"]
    migrate(migrated_tenancy(), jobs=0)
    assert (states("expand"), states()) == (["current", "current"], ["current", "current"])
    with pytest.raises(ConfigurationError, match="no phase 'expnad'"):
        status(fleet, phase="expnad")


@pytest.mark.all_cases
def test_status_checks_the_phase_of_the_shared_tables_too(
    fleet: Tenancy, environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    environment.add("s1", "pass", line="shared", phase="expand")
    environment.add("s2", "pass", line="shared", phase="contract")
    migrate(migrated_tenancy(), phase="expand", jobs=0)
    found = status(migrated_tenancy(), phase="expand")
    assert (found.shared_revision, found.shared_is_current, found.is_current) == ("s1", True, True)
    assert not status(migrated_tenancy()).shared_is_current


def test_the_phase_contract_runs_all_revisions(fleet: Tenancy, engine: Engine) -> None:
    migrate(fleet, phase="contract", jobs=0)
    assert columns(engine, "acme", "beta") == {key: ["new", "x"] for key in ("acme", "beta")}


def test_a_revision_without_a_phase_belongs_to_expand(fleet: Tenancy, environment: Environment, engine: Engine) -> None:
    environment.add("r2", EXPAND, after="r1")
    migrate(fleet, phase="expand", jobs=0)
    assert columns(engine, "acme") == {"acme": ["new", "old", "x"]}


def test_each_tenant_is_migrated_as_far_as_possible_from_its_revision(
    fleet: Tenancy, environment: Environment, engine: Engine, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    migrate(fleet, tenants=["acme"], jobs=0)
    environment.add("r4", EXPAND.replace("new", "newer"), phase="expand", after="r3")

    with pytest.raises(MigrationError) as caught:
        migrate(migrated_tenancy(), phase="expand", jobs=0)

    # beta cannot reach the expanding revision without a contraction that breaks the code of r1.
    assert columns(engine, "acme", "beta") == {"acme": ["new", "newer", "x"], "beta": ["old", "x"]}
    [failure] = caught.value.report.failures
    assert failure.key == "beta"
    assert "r4 belongs before the new code, but comes after r3" in (failure.error or "")
    assert "tenantkit migrate r3" in (failure.error or "")
    assert caught.value.report.target == "r4"


def test_the_phase_holds_for_the_shared_tables_too(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    environment.add("r1", FIRST)
    environment.add("s1", "pass", line="shared")
    environment.add("s2", "op.execute('DROP TABLE shared.country CASCADE')", line="shared", phase="contract")
    tenancy = migrated_tenancy()
    migrate(tenancy, phase="expand", jobs=0)
    with engine.connect() as connection:
        assert sa.inspect(connection).has_table("country", schema="shared")
    assert upgrade_shared(tenancy, phase="expand") is None
    outcome = upgrade_shared(tenancy)
    assert outcome is not None
    assert (outcome.from_revision, outcome.to_revision) == ("s1", "s2")


def test_a_wrong_order_of_shared_revisions_is_refused_before_any_change(
    fleet: Tenancy, environment: Environment, engine: Engine
) -> None:
    environment.add("s1", "pass", line="shared", phase="contract")
    environment.add("s2", "pass", line="shared", phase="expand")
    with pytest.raises(ConfigurationError, match="s2 belongs before the new code, but comes after s1"):
        migrate(fleet, phase="expand", jobs=0)
    assert columns(engine, "acme") == {"acme": ["old", "x"]}


@pytest.mark.parametrize("target", ["+1", "r3", "r2"])
def test_a_named_target_with_a_phase_is_refused(fleet: Tenancy, engine: Engine, target: str) -> None:
    with pytest.raises(ConfigurationError, match="Leave out the phase or the target"):
        migrate(fleet, target, phase="expand", jobs=0)
    assert columns(engine, "acme") == {"acme": ["old", "x"]}


def test_a_phase_that_does_not_exist_is_refused(
    fleet: Tenancy, environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    environment.add("r2", EXPAND, after="r1", phase="expnad")
    with pytest.raises(MigrationError) as caught:
        migrate(migrated_tenancy(), phase="expand", jobs=0)
    assert "has the phase 'expnad'" in (caught.value.report.failures[0].error or "")


def test_a_run_is_resumed_in_its_phase(fleet: Tenancy, engine: Engine) -> None:
    run_id = migrate(fleet, phase="expand", jobs=0).run_id
    assert unfinished(fleet, run_id) == ("head", [], "expand")
    assert unfinished(fleet, migrate(fleet, jobs=0).run_id)[2] is None


def test_each_branch_is_migrated_as_far_as_possible(environment: Environment) -> None:
    environment.add("a1", FIRST)
    environment.add("a2", "pass", phase="expand")
    environment.add("a3", "pass", phase="contract")
    environment.add("b2", "pass", after="a1", phase="expand")
    graph = RevisionGraph(environment.folder, "tenant")
    assert limit(graph, "heads", ("a1",), "expand") == "a2,b2"
    assert [step.revision.revision for step in graph.upgrade_steps("a2,b2", ("a1",))] in (["a2", "b2"], ["b2", "a2"])
    assert limit(graph, "heads", ("a2",), "expand") == "a2,b2"
    assert limit(graph, "heads", ("a3", "b2"), "expand") == "a3,b2"
    with pytest.raises(ConfigurationError, match="ask for 'heads'"):
        limit(graph, "head", ("a1",), "expand")

    # A merge of branches neither contracts nor expands.
    environment.add("m", "pass", after=("a3", "b2"))
    graph = RevisionGraph(environment.folder, "tenant")
    assert limit(graph, "head", ("a1",), "expand") == "a2,b2"
    assert limit(graph, "head", (), "contract") == "head"


def test_tenants_on_branches_are_migrated_to_the_last_revisions_of_the_phase(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    environment.add("a1", FIRST)
    tenancy = migrated_tenancy()
    for key in ("one", "two", "three"):
        tenancy.create(key)
    environment.add("a2", EXPAND, phase="expand")
    environment.add("a3", CONTRACT, phase="contract")
    environment.add("b2", EXPAND.replace("new", "other"), after="a1", phase="expand")
    report = migrate(migrated_tenancy(), "heads", phase="expand", jobs=1)
    assert columns(engine, "one", "three") == {key: ["new", "old", "other", "x"] for key in ("one", "three")}
    assert {outcome.engine for outcome in report.outcomes} == {"alembic", "replay"}
    assert report.target == "a2,b2"


PROPOSALS = {
    "expand": [
        'sa.Table("note", tenant, id(), text())',
        'sa.Table("note", tenant, id(), text(), sa.Column("size", sa.Integer))',
        'sa.Table("note", tenant, id(), text(), sa.Column("size", sa.Integer, server_default="0", nullable=False))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(50), server_default="x"), sa.Index("i", "text"))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.Text))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(80)))',
        'sa.Table("note", tenant, id(), text(), sa.Column("up", sa.Integer, sa.ForeignKey("tenant.note.id", name="fk")))',
        'sa.Table("note", tenant, id(), text(), sa.Column("size", sa.Integer), sa.UniqueConstraint("size", name="uq"))',
        'sa.Table("note", tenant, id(), text(), sa.Column("size", sa.Integer, index=True))',
    ],
    "contract": [
        'sa.Table("note", tenant, id())',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(20)))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.LargeBinary))',
        'sa.Table("note", tenant, id(), text(), sa.UniqueConstraint("text", name="uq"))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(50)), sa.Index("u", "text", unique=True))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(50), sa.ForeignKey("tenant.note.text", name="fk")))',
        'sa.Table("note", tenant, id(), sa.Column("text", sa.String(50), nullable=False))',
        'sa.Table("note", tenant, id(), text(), sa.Column("size", sa.Integer, nullable=False))',
        'sa.Table("note", tenant, id(), sa.Column("name", sa.String(50)))',
    ],
}


def declare(models: str) -> sa.MetaData:
    tenant = sa.MetaData(schema="tenant")
    exec(
        models,
        {
            "sa": sa,
            "tenant": tenant,
            "id": lambda: sa.Column("id", sa.Integer, primary_key=True),
            "text": lambda: sa.Column("text", sa.String(50)),
        },
    )
    return tenant


@pytest.mark.parametrize(
    ("phase", "models"), [(phase, each) for phase, several in PROPOSALS.items() for each in several]
)
def test_autogenerate_proposes_the_phase_that_lint_agrees_with(
    phase: str,
    models: str,
    environment: Environment,
    migrated_tenancy: Callable[..., Tenancy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = 'op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), {}, schema="tenant")'
    environment.add("r1", create.format('sa.Column("text", sa.String(50))'))
    metadata: dict[str, Any] = {"tenant": declare(models), "shared": None}
    path = revision(migrated_tenancy(**metadata), "next", autogenerate=True)
    if models == PROPOSALS["expand"][0]:
        assert path is None
        return
    assert path is not None
    written = path.read_text()
    assert f'\nphase: str | None = "{phase}"\n' in written
    assert ("two revisions" in written) is ('"name"' in models)

    def found() -> set[str]:
        codes = {finding.code for finding in lint(migrated_tenancy(**metadata)).findings}
        return codes - {"TK009"}  # about locks, in every phase

    monkeypatch.setattr(squawk, "find", lambda: None)
    assert found() == set()
    path.write_text(written.replace('"contract"', '"expand"'))
    assert found() == ({"TK006"} if phase == "contract" else set())


def test_a_requested_phase_is_written_with_every_template(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    template = environment.folder / "script.py.mako"
    template.write_text(
        '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\ndef upgrade(): pass\n'
    )
    tenancy = migrated_tenancy()
    path = revision(tenancy, "by hand", phase="contract")
    assert isinstance(path, Path)
    assert 'down_revision = None\nphase: str | None = "contract"\n' in path.read_text()
    other = revision(tenancy, "nothing said")
    assert other is not None
    assert "phase" not in other.read_text()
