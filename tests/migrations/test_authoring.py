"""New environments, autogenerate, and commands of plain Alembic."""

from __future__ import annotations

import enum
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.migrations import downgrade, init, migrate, revision, upgrade_shared
from tests.migrations.environments import Environment
from tests.migrations.shapes import shape
from tests.support import commands

Make = Callable[..., Tenancy]

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


def declare(shared_schema: str, schema: str | None) -> tuple[sa.MetaData, sa.MetaData]:
    """Declare tables with cases that are difficult for autogenerate."""
    shared = sa.MetaData(schema=shared_schema, naming_convention=NAMING)
    tenant = sa.MetaData(schema=schema, naming_convention=NAMING)
    country = sa.Table("country", shared, sa.Column("code", sa.Text, primary_key=True))
    sa.Table(
        "plan",
        shared,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("country", sa.ForeignKey(country.c.code)),
    )
    owner = sa.Table(
        "owner",
        tenant,
        sa.Column("a", sa.Integer, primary_key=True),
        sa.Column("b", sa.Text, primary_key=True, server_default="x"),
        sa.Column("boss", sa.Integer),
        sa.Column("moods", ARRAY(sa.Enum(Mood, name="mood"))),
        comment="somebody's",
    )
    sa.Table(
        "thing",
        tenant,
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("country", sa.ForeignKey(country.c.code), index=True),
        sa.Column("parent", sa.ForeignKey(f"{schema}.thing.id" if schema else "thing.id")),
        sa.Column("owner_a", sa.Integer),
        sa.Column("owner_b", sa.Text),
        sa.Column("mood", sa.Enum(Mood, name="mood"), server_default="GOOD", nullable=False),
        sa.Column("data", JSONB, server_default=sa.text("'{}'::jsonb")),
        sa.Column("name", sa.String(20), unique=True),
        sa.Column("size", sa.Integer, sa.Computed("length(data::text)", persisted=True)),
        sa.Column("made", sa.DateTime(timezone=True), server_default=sa.func.now(), comment="when"),
        sa.CheckConstraint("name <> ''", name="named"),
        sa.ForeignKeyConstraint(["owner_a", "owner_b"], [owner.c.a, owner.c.b]),
        sa.Index("ix_partial", "name", postgresql_where=sa.text("size > 1")),
        sa.Index("ix_gin", "data", postgresql_using="gin"),
        sa.Index("ix_lower", sa.text("lower(name)")),
    )
    return shared, tenant


@pytest.mark.parametrize(
    ("shared_schema", "placeholder"), [("shared", "tenant"), ("shared", None), ("public", "tenant"), ("public", None)]
)
def test_a_second_autogenerate_after_the_models_finds_no_difference(
    shared_schema: str, placeholder: str | None, environment: Environment, make_tenancy: Make, empty_database: sa.URL
) -> None:
    shared, tenant = declare(shared_schema, placeholder)
    tenancy = make_tenancy(
        database=empty_database, shared=shared, tenant=tenant, placeholder=placeholder, migrations=environment.folder
    )
    before = sorted(Path(environment.folder).rglob("*.py"))
    assert revision(tenancy, "shared", shared=True, autogenerate=True)
    upgrade_shared(tenancy)
    first = revision(tenancy, "first", autogenerate=True)
    assert first is not None
    assert first.parent == environment.folder / "tenant"
    written = sorted(Path(environment.folder).rglob("*.py"))
    assert len(written) == len(before) + 2
    assert revision(tenancy, "again", autogenerate=True) is None
    assert revision(tenancy, "again", shared=True, autogenerate=True) is None
    assert sorted(Path(environment.folder).rglob("*.py")) == written

    tenancy.install()
    tenancy.create("acme")
    plain = make_tenancy(database=empty_database, shared=shared, tenant=tenant, placeholder=placeholder)
    plain.create("twin")
    with tenancy.engine.begin() as connection:
        migrated = [line for line in shape(connection, "t_acme") if "alembic_version" not in line]
        assert migrated == shape(connection, "t_twin")
        assert not [line for line in shape(connection, "public") if "mood" in line]
        names = sa.inspect(connection).get_schema_names()
        assert {"tenant", "tenantkit_autogenerate"}.isdisjoint(names)


def test_an_enum_added_to_an_existing_table_gets_its_type_and_loses_it_again(
    environment: Environment, make_tenancy: Make, engine: Engine
) -> None:
    _shared, tenant = declare("shared", "tenant")
    tenancy = make_tenancy(shared=sa.MetaData(), tenant=tenant, migrations=environment.folder)
    plan = sa.Table("plan", tenant, sa.Column("id", sa.Integer, primary_key=True))
    tenant.remove(tenant.tables["tenant.thing"])
    assert revision(tenancy, "first", autogenerate=True)
    tenancy.create("acme")

    plan.append_column(sa.Column("level", sa.Enum("low", "high", name="level", schema="tenant"), server_default="low"))
    plan.append_column(sa.Column("levels", ARRAY(sa.Enum("low", "high", name="level", schema="tenant"))))
    tenancy = make_tenancy(shared=sa.MetaData(), tenant=tenant, migrations=environment.folder)
    assert revision(tenancy, "second", autogenerate=True)
    with engine.begin() as connection:
        before = shape(connection, "t_acme")
    for _ in range(2):
        migrate(tenancy, jobs=0)
        with engine.begin() as connection:
            assert "enum level low,high" in shape(connection, "t_acme")
            assert not [line for line in shape(connection, "public") if "level" in line]
        downgrade(tenancy, "-1", jobs=0)
        with engine.begin() as connection:
            assert shape(connection, "t_acme") == before


def test_an_empty_revision_is_written_to_its_side(environment: Environment, migrated_tenancy: Make) -> None:
    first = revision(migrated_tenancy(), "by hand")
    shared = revision(migrated_tenancy(), "by hand", shared=True)
    assert first is not None
    assert shared is not None
    assert (first.parent.name, shared.parent.name) == ("tenant", "shared")
    second = revision(migrated_tenancy(), "more")
    assert second is not None
    assert f"Revises: {first.stem.split('_')[0]}" in second.read_text()


def test_autogenerate_needs_the_shared_tables(
    environment: Environment, make_tenancy: Make, empty_database: sa.URL
) -> None:
    shared, tenant = declare("shared", "tenant")
    tenancy = make_tenancy(database=empty_database, shared=shared, tenant=tenant, migrations=environment.folder)
    revision(tenancy, "shared", shared=True, autogenerate=True)
    with pytest.raises(ConfigurationError, match="not up to date"):
        revision(tenancy, "more", shared=True, autogenerate=True)
    upgrade_shared(tenancy)
    revision(tenancy, "first", autogenerate=True)
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA shared CASCADE")
    with pytest.raises(ConfigurationError, match=r"at no revision, not at .*tenantkit migrate"):
        revision(tenancy, "second", autogenerate=True)


def test_autogenerate_does_not_lock_any_tenant(environment: Environment, make_tenancy: Make, engine: Engine) -> None:
    _, tenant = declare("shared", "tenant")
    tenancy = make_tenancy(tenant=tenant, shared=sa.MetaData(), migrations=environment.folder)
    tenant.remove(tenant.tables["tenant.thing"])
    revision(tenancy, "first", autogenerate=True)
    tenancy.create("acme")
    sa.Table("more", tenant, sa.Column("id", sa.Integer, primary_key=True))
    query = "SELECT max(xmin::text::bigint) FROM pg_class WHERE relnamespace = 't_acme'::regnamespace"
    with engine.connect() as watcher:
        before = watcher.exec_driver_sql(query).scalar()
        # With the lock on all tables of the tenant, autogenerate would time out if it used them.
        watcher.exec_driver_sql("LOCK TABLE t_acme.owner, t_acme.alembic_version IN ACCESS EXCLUSIVE MODE")
        assert revision(tenancy, "second", autogenerate=True)
        assert watcher.exec_driver_sql(query).scalar() == before


def test_init_creates_an_environment_and_overwrites_nothing(tmp_path: Path) -> None:
    made = init(tmp_path / "migrations")
    assert {path.relative_to(tmp_path).as_posix() for path in made} == {
        "alembic.ini",
        "migrations/env.py",
        "migrations/script.py.mako",
        "migrations/shared/.gitkeep",
        "migrations/tenant/.gitkeep",
    }
    (tmp_path / "migrations" / "env.py").write_text("mine")
    with pytest.raises(ConfigurationError, match="nothing was overwritten"):
        init(tmp_path / "migrations")
    assert (tmp_path / "migrations" / "env.py").read_text() == "mine"


@pytest.mark.some_values(command=5)
@pytest.mark.parametrize(
    "command",
    [
        ["upgrade", "head"],
        ["upgrade", "head", "--sql"],
        ["downgrade", "base"],
        ["stamp", "head"],
        ["current"],
        ["check"],
        ["revision", "--autogenerate", "-m", "x"],
    ],
    ids=" ".join,
)
def test_plain_alembic_commands_that_need_the_database_are_refused_with_a_hint(
    command: list[str], environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", 'op.create_table("a", sa.Column("x", sa.Integer))')
    with engine.begin() as connection:
        before = shape(connection, "public")
    done = alembic(environment, *command)
    assert done.returncode != 0
    assert "tenantkit migrate" in done.stdout + done.stderr
    assert [path.name for path in (environment.folder / "tenant").glob("*.py")] == ["one.py"]
    with engine.begin() as connection:
        assert shape(connection, "public") == before


def test_plain_alembic_commands_without_a_database_work(environment: Environment) -> None:
    environment.add("one", "pass")
    environment.add("two", "pass")
    environment.add("other", "pass", after="one")
    assert "one -> two" in alembic(environment, "history").stdout
    assert "Rev: two" in alembic(environment, "show", "two").stdout
    assert alembic(environment, "merge", "heads", "-m", "join").returncode == 0
    assert alembic(environment, "heads").stdout.count("(head)") == 1
    assert len(list((environment.folder / "tenant").glob("*.py"))) == 4


def alembic(environment: Environment, *command: str) -> subprocess.CompletedProcess[str]:
    program = str(commands.SCRIPT.with_name("alembic"))
    return commands.run(
        "-n", "tenant", *command, program=program, cwd=environment.folder.parent, environment=os.environ
    )


def test_options_in_env_py_are_passed_to_alembic_with_tenantkits_own(
    environment: Environment, make_tenancy: Make, tmp_path: Path, engine: Engine
) -> None:
    _, tenant = declare("shared", "tenant")
    (environment.folder / "env.py").write_text(
        "from pathlib import Path\n"
        "from tenantkit.migrations import run_environment\n"
        f"log = Path({str(tmp_path / 'applied')!r})\n"
        "def applied(*, step, **rest):\n"
        "    log.write_text(log.read_text() + step.up_revision_id if log.exists() else step.up_revision_id)\n"
        "def include(item, name, kind, reflected, other):\n"
        "    return name != 'owner' and kind != 'foreign_key_constraint'\n"
        "run_environment(include_object=include, on_version_apply=applied)\n"
    )
    tenant.remove(tenant.tables["tenant.thing"])
    sa.Table("other", tenant, sa.Column("id", sa.Integer, primary_key=True))
    tenancy = make_tenancy(tenant=tenant, shared=sa.MetaData(), migrations=environment.folder)
    written = revision(tenancy, "first", autogenerate=True)
    assert written is not None
    assert "'other'" in written.read_text()
    assert "'owner'" not in written.read_text()
    tenancy.create("acme")
    assert (tmp_path / "applied").read_text() == written.stem.split("_")[0]
    environment.add("more", "pass", after=written.stem.split("_")[0])
    report = migrate(make_tenancy(tenant=tenant, shared=sa.MetaData(), migrations=environment.folder), jobs=0)
    assert [outcome.to_revision for outcome in report.migrated] == ["more"]


def test_options_that_are_tenantkits_are_refused_in_env_py(environment: Environment, migrated_tenancy: Make) -> None:
    environment.add("one", "pass")
    (environment.folder / "env.py").write_text(
        "from tenantkit.migrations import run_environment\nrun_environment(version_table_schema='public')\n"
    )
    with pytest.raises(ProvisioningError, match="version_table_schema, which tenantkit sets itself"):
        migrated_tenancy().create("acme")
