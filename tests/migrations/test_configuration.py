"""alembic.ini, env.py and naming conventions have the same effect as with plain Alembic."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, UniqueConstraint

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.migrations import migrate, revision
from tests.migrations.environments import Environment

CREATE = 'op.create_table("{}", sa.Column("id", sa.Integer), schema="tenant")'


def named_by_function(constraint: UniqueConstraint, table: Table) -> str:
    """A token of a naming convention, as a function."""
    return f"{table.name}_{len(constraint.columns)}"


def names(engine: Engine, kind: str = "relation", key: str = "acme") -> set[str]:
    query = {
        "relation": "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)",
        "constraint": "SELECT conname FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s)",
    }[kind]
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query, {"schema": f"t_{key}"}).scalars())


def configure(environment: Environment, options: str) -> Path:
    """Write alembic.ini; return its folder."""
    folder = environment.folder.parent
    (folder / "alembic.ini").write_text(f"[tenant]\n{dedent(options)}")
    return folder


@pytest.mark.parametrize(
    ("second", "options"),
    [
        ("plug_in", "version_locations = %(here)s/migrations/tenant:%(here)s/plug_in\npath_separator = :"),
        ("plug_in", "version_locations = %(here)s/migrations/tenant\n    %(here)s/plug_in\npath_separator = newline"),
        ("migrations/tenant/of/it", "recursive_version_locations = true"),
    ],
    ids=["colon", "newline", "recursive"],
)
@pytest.mark.parametrize("engine_name", ["alembic", "auto"])
def test_revisions_are_found_in_every_folder_that_the_ini_names(
    second: str,
    options: str,
    engine_name: Any,
    environment: Environment,
    migrated_tenancy: Callable[..., Tenancy],
    engine: Engine,
) -> None:
    folder = configure(environment, options)
    environment.add("one", CREATE.format("one"))
    tenancy = migrated_tenancy()
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
    environment.add("two", CREATE.format("two"))
    (folder / second).mkdir(parents=True)
    (environment.folder / "tenant" / "two.py").rename(folder / second / "two.py")
    tenancy = migrated_tenancy()

    migrate(tenancy, engine=engine_name, jobs=1)
    tenancy.create("new")

    for key in ("acme", "beta", "gamma", "new"):
        assert {"one", "two"} <= names(engine, key=key)


def test_env_and_revisions_have_the_paths_and_settings_of_the_ini(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    folder = configure(environment, "prepend_sys_path = %(here)s/library:.\npath_separator = :\ntable_prefix = app_%%s")
    (folder / "library").mkdir()
    (folder / "library" / "tables_of_the_library.py").write_text("PREFIX = 'lib_'\n")
    (environment.folder / "env.py").write_text(
        "from alembic import context\nfrom tenantkit.migrations import run_environment\n"
        "run_environment(table_prefix=context.config.get_main_option('table_prefix'))\n"
    )
    environment.add(
        "one",
        """
        from tables_of_the_library import PREFIX
        op.execute(f"CREATE TABLE {PREFIX + op.get_context().opts['table_prefix'] % 'one'} ()")
        """,
    )
    tenancy = migrated_tenancy()

    tenancy.create("acme")
    migrated_tenancy().create("beta")

    assert "lib_app_one" in names(engine)
    assert sys.path.count(str(folder / "library")) == 1


def test_new_revisions_have_the_name_and_folder_of_the_ini(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    configure(environment, "file_template = %%(slug)s-%%(rev)s\ntruncate_slug_length = 5\n")

    file = revision(migrated_tenancy(), "Something long")

    assert file is not None
    assert file.parent == environment.folder / "tenant"
    assert file.name.startswith("somet_-")


def test_the_ini_of_another_project_is_ignored(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    (environment.folder.parent / "alembic.ini").write_text(
        "[alembic]\nscript_location = other\nversion_locations = x\n"
    )
    environment.add("one", CREATE.format("one"))

    migrated_tenancy().create("acme")

    assert "one" in names(engine)


@pytest.mark.parametrize("jobs", [0, 1])
def test_names_of_a_function_in_a_convention_are_the_same_in_worker_processes(
    jobs: int, environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    convention = {"counted": named_by_function, "uq": "uq_%(counted)s", "ix": "ix_%(column_0_label)s"}
    metadata = MetaData(schema="tenant", naming_convention=convention)
    environment.add("one", CREATE.format("one"))
    tenancy = migrated_tenancy(tenant=metadata)
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
    environment.add("two", 'op.create_unique_constraint(None, "one", ["id"], schema="tenant")')

    migrate(migrated_tenancy(tenant=metadata), engine="alembic", jobs=jobs)

    for key in ("acme", "beta", "gamma"):
        assert "uq_one_1" in names(engine, "constraint", key)


@pytest.mark.parametrize(
    ("convention", "is_kept"),
    [
        (None, False),
        ({"ix": "ix_%(column_0_label)s"}, False),
        ({"ix": "ix_%(table_name)s_%(column_0_name)s"}, True),
        ({"ix": "%(table_name)s_%(column_0_N_name)s"}, True),
    ],
)
def test_models_that_had_no_schema_keep_the_names_of_indexes_that_are_built_from_the_tables_name(
    convention: dict[str, str] | None,
    is_kept: bool,
    environment: Environment,
    migrated_tenancy: Callable[..., Tenancy],
) -> None:
    def table(schema: str | None) -> Table:
        columns = (Column("id", Integer, primary_key=True), Column("a", Integer, index=True))
        unique = Column("b", Integer, index=True, unique=True)
        return Table("note", MetaData(schema=schema, naming_convention=convention), *columns, unique)

    columns = ", ".join(f'sa.Column("{name}", sa.Integer, primary_key={name == "id"})' for name in ("id", "a", "b"))
    one = f'op.create_table("note", {columns}, schema="tenant")'
    for index in table(None).indexes:
        one += (
            f'\nop.create_index("{index.name}", "note", {index.columns.keys()}, unique={index.unique}, schema="tenant")'
        )
    environment.add("one", one)

    moved = table("tenant")
    written = revision(migrated_tenancy(tenant=moved.metadata), "moved", autogenerate=True)

    code = "" if written is None else written.read_text()
    assert (code == "") == is_kept
    for step in ("drop_index(op.f('ix_note_a')", "create_index(op.f('ix_tenant_note_a')"):
        assert (step in code) != is_kept


BOTH_WAYS = """
for table, step in (("one", "{step}"), ("two", "{step}_concurrently")):
    op.create_table(table, sa.Column("id", sa.Integer, primary_key=True), schema="tenant")
    getattr(op, step)({arguments})
"""


@pytest.mark.parametrize("name", ["positive", "op.f"])
@pytest.mark.parametrize(
    ("step", "arguments"),
    [
        ("create_check_constraint", 'NAME, table, "id > 0", schema="tenant"'),
        (
            "create_foreign_key",
            'NAME, table, table, ["id"], ["id"], source_schema="tenant", referent_schema="tenant"',
        ),
    ],
)
def test_constraints_that_are_added_concurrently_follow_the_naming_convention(
    step: str,
    arguments: str,
    name: str,
    environment: Environment,
    migrated_tenancy: Callable[..., Tenancy],
    engine: Engine,
) -> None:
    convention = {"ck": "ck_%(table_name)s_%(constraint_name)s", "fk": "fk_%(table_name)s_%(constraint_name)s"}
    written = 'op.f("positive")' if name == "op.f" else '"positive"'
    environment.add("one", BOTH_WAYS.format(step=step, arguments=arguments.replace("NAME", written)))
    migrated_tenancy(tenant=MetaData(schema="tenant", naming_convention=convention)).create("acme")
    with engine.connect() as connection:
        query = "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f') AND conrelid = 't_acme.{}'::regclass"
        one, two = (connection.exec_driver_sql(query.format(table)).scalar_one() for table in ("one", "two"))
    assert one.replace("_one_", "_two_") == two
    assert (one == "positive") == (name == "op.f")


def test_a_convention_that_cannot_be_sent_to_workers_is_refused_with_a_remedy(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    convention = {"x": lambda *_: "x", "uq": "uq_%(x)s", "ix": "ix_%(column_0_label)s"}
    environment.add("one", CREATE.format("one"))
    tenancy = migrated_tenancy(tenant=MetaData(schema="tenant", naming_convention=convention))
    tenancy.create("acme")
    environment.add("two", CREATE.format("two"))
    tenancy = migrated_tenancy(tenant=MetaData(schema="tenant", naming_convention=convention))

    with pytest.raises(ConfigurationError, match=r"naming_convention.*jobs=0"):
        migrate(tenancy, jobs=1)

    assert len(migrate(tenancy, jobs=0).migrated) == 1


def test_a_changed_path_of_a_hook_does_not_affect_the_next_revision(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    (environment.folder / "env.py").write_text(
        dedent(
            """
            from sqlalchemy import text
            from tenantkit.migrations import run_environment


            def count(*, ctx, step, heads, **_):
                # Here, the path is the tenant's, also if the revision has changed it.
                ctx.connection.execute(text("CREATE TABLE IF NOT EXISTS applied (revision text)"))
                ctx.connection.execute(text("INSERT INTO applied VALUES (:r)"), {"r": step.up_revision_id})
                ctx.connection.execute(text("SET search_path = public"))


            run_environment(on_version_apply=count)
            """
        )
    )
    environment.add("one", 'op.execute("CREATE TABLE one ()"); op.execute("SET search_path = public")')
    environment.add("two", 'op.execute("CREATE TABLE two ()")')
    tenancy = migrated_tenancy()

    tenancy.create("acme")

    assert {"one", "two", "applied"} <= names(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT revision FROM t_acme.applied").scalars().all() == ["one", "two"]
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").scalar() == 0


def test_filters_of_env_py_apply_in_addition_to_tenantkits(
    environment: Environment, migrated_tenancy: Callable[..., Tenancy]
) -> None:
    metadata = MetaData(schema="tenant")
    (environment.folder / "env.py").write_text(
        "from tenantkit.migrations import run_environment\n"
        "run_environment(include_name=lambda name, kind, parents: name != 'legacy')\n"
    )
    environment.add("one", CREATE.format("legacy"))

    assert revision(migrated_tenancy(tenant=metadata), "Nothing", autogenerate=True) is None


@pytest.mark.parametrize("option", ["as_sql=True", "transactional_ddl=False", "starting_rev='one'", "dialect_name='x'"])
def test_an_option_that_tenantkit_sets_itself_is_refused_in_env_py(
    option: str, environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    env = environment.folder / "env.py"
    env.write_text(env.read_text().replace("run_environment()", f"run_environment({option})"))
    environment.add("one", CREATE.format("one"))

    with pytest.raises(ProvisioningError, match=f"env.py passes {option.partition('=')[0]}, which tenantkit sets"):
        migrated_tenancy().create("acme")

    assert "one" not in names(engine)
