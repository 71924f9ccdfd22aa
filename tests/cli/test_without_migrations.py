"""The command line for an application without migrations, which can begin migrations later."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from sqlalchemy import URL, Engine, create_engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from tenantkit.cli.display.errors import describe
from tests.cli.project import Project
from tests.cli.test_fleet import revisions


@pytest.fixture
def plain(bare_project: Project, empty_database: URL, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without migrations, whose database is empty."""
    monkeypatch.setenv("DATABASE_URL", empty_database.render_as_string(hide_password=False))
    bare_project.edit_app(', "migrations": "migrations"', "")
    for file in sorted(bare_project.folder.glob("migrations/**/*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (bare_project.folder / "migrations").rmdir()
    (bare_project.folder / "alembic.ini").unlink()
    return bare_project


@pytest.fixture
def plain_engine(empty_database: URL) -> Generator[Engine]:
    """An engine for queries of the plain project's database from outside."""
    engine = create_engine(empty_database)
    yield engine
    engine.dispose()


def test_migrate_creates_the_registry_and_the_shared_tables(plain: Project, plain_engine: Engine) -> None:
    hint = plain.invoke("list").err
    assert "Run 'tenantkit migrate' first" in hint
    first = plain.invoke("migrate")
    assert (first.code, first.out.splitlines()) == (
        0,
        ["Registry: up to date.", "Shared tables: created shared.countries."],
    )
    assert "'tenantkit init' creates a migration environment" in first.err
    assert inspect(plain_engine).has_table("countries", schema="shared")
    assert plain.invoke("list").err.endswith("There are no tenants yet.\n")
    assert plain.invoke("create", "acme").code == 0
    assert inspect(plain_engine).has_table("invoices", schema="t_acme")
    assert plain.invoke("migrate", "--json").json == {"created": []}
    assert "Shared tables: unchanged." in plain.invoke("migrate").out


@pytest.mark.parametrize("arguments", [("t1",), ("--tenants", "acme"), ("--dry-run",), ("--jobs", "2")], ids=" ".join)
def test_options_of_migrations_are_refused(plain: Project, arguments: tuple[str, ...]) -> None:
    done = plain.invoke("migrate", *arguments)
    assert (done.code, done.out) == (1, "")
    assert "create the folder with 'tenantkit init'" in done.err


@pytest.mark.parametrize("statement", ["SELECT FROM nowhere", "SELECT FROM tenant.invoices"])
def test_the_error_for_a_missing_tenant_table_does_not_advise_migrate(project_engine: Engine, statement: str) -> None:
    with project_engine.connect() as connection, pytest.raises(ProgrammingError) as error:
        connection.execute(text(statement))
    assert "does not exist" in describe(error.value)
    assert "tenantkit migrate" not in describe(error.value)


def add_migrations(plain: Project) -> None:
    """Follow the steps that `tenantkit init` prints."""
    plain.edit_app('"tenant": TenantBase.metadata', '"tenant": TenantBase.metadata, "migrations": "migrations"')
    assert plain.invoke("init").code == 0


def written(plain: Project, *arguments: str) -> str:
    """Write a revision, and return its id."""
    done = plain.invoke("revision", "--autogenerate", "-m", "First", *arguments)
    assert done.out, done.err
    return done.out.strip().rpartition("/")[2].partition("_")[0]


def test_migrations_can_begin_for_tables_that_were_created_from_the_models(
    plain: Project, plain_engine: Engine
) -> None:
    plain.invoke("migrate")
    for key in ("acme", "globex", "initech"):
        plain.invoke("create", key)
    with plain_engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.countries VALUES ('fr')"))
        connection.execute(text("INSERT INTO t_acme.invoices (country) VALUES ('fr')"))
    add_migrations(plain)

    shared = written(plain, "--shared")
    refused = plain.invoke("migrate", "--shared-only")
    assert (refused.code, refused.out) == (1, "")
    assert f"'tenantkit stamp {shared} --shared'" in refused.err
    assert plain.invoke("stamp", shared, "--shared", "--yes").code == 0

    first = written(plain)
    plain.invoke("create", "umbrella")
    for arguments in ((), ("--engine", "alembic")):
        refused = plain.invoke("migrate", *arguments)
        assert refused.code == 1
        assert f"'tenantkit stamp {first} --tenants acme,globex,initech'" in refused.err
        assert "DuplicateTable" not in refused.err
        assert "by other means" not in refused.err
    assert [plan["key"] for plan in plain.invoke("migrate", "--dry-run", "--json").json["refused"]] == [
        "acme", "globex", "initech",
    ]  # fmt: skip
    assert plain.invoke("stamp", first, "--tenants", "acme,globex,initech", "--yes").code == 0

    plain.add_revision("next", first, 'op.add_column("invoices", sa.Column("paid", sa.Boolean), schema="tenant")')
    assert plain.invoke("migrate").code == 0
    assert revisions(plain_engine, "acme", "globex", "initech", "umbrella") == ["next"] * 4
    with plain_engine.connect() as connection:
        assert connection.execute(text("SELECT country, paid FROM t_acme.invoices")).all() == [("fr", None)]


def test_if_no_tenant_has_a_revision_one_stamp_is_offered_for_all(plain: Project) -> None:
    plain.invoke("migrate")
    plain.invoke("create", "acme")
    add_migrations(plain)
    first = written(plain)
    assert f"'tenantkit stamp {first}'" in plain.invoke("migrate").err


def test_a_tenant_without_tables_is_migrated_from_the_beginning(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("DROP TABLE t_acme.alembic_version, t_acme.invoices"))
        connection.execute(text("CREATE TABLE t_acme.of_somebody_else ()"))
    assert fleet.invoke("migrate").code == 0
    assert revisions(project_engine, "acme") == ["t2"]
