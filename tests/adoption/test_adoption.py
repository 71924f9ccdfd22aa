"""Schemas of an existing application become tenants as they are, all or none; a release takes that back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from sqlalchemy import URL, Engine, select, text

from tenantkit import (
    AdoptionError,
    ConfigurationError,
    ProvisioningError,
    Tenancy,
    TenantkitError,
    TenantNotFoundError,
    migrations,
)
from tenantkit.adoption import adopt, release
from tenantkit.drift import check
from tenantkit.lifecycle import rename
from tests.adoption.conftest import Legacy, run
from tests.isolation.two_databases import dying
from tests.migrations.environments import Environment
from tests.support.catalog import fingerprint, registered, schemas
from tests.support.dumps import PG_DUMP
from tests.support.models import Project, SharedBase

NAMES = ["dispatch_organization_acme", "dispatch_organization_beta", "dispatch_organization_gamma"]
PATTERN = "dispatch_organization_%"
INITIAL = """
state = postgresql.ENUM("OPEN", "DONE", name="state", schema="tenant")
op.create_table("project", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String, nullable=False),
    sa.Column("country_code", sa.String), sa.UniqueConstraint("name", name="uq_project_name"),
    sa.ForeignKeyConstraint(["country_code"], ["shared.country.code"], name="fk_project_country_code_country"),
    sa.PrimaryKeyConstraint("id", name="pk_project"), schema="tenant")
op.create_table("task", sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.String, nullable=False),
    sa.Column("state", state, nullable=False), sa.Column("project_id", sa.Integer, nullable=False),
    sa.ForeignKeyConstraint(["project_id"], ["tenant.project.id"], name="fk_task_project_id_project"),
    sa.PrimaryKeyConstraint("id", name="pk_task"), schema="tenant")
op.create_index("ix_tenant_task_project_id", "task", ["project_id"], schema="tenant")
"""


def catalog(url: URL, *names: str) -> str:
    """Return what pg_dump writes of schemas, without the line that differs each time."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = [f"--schema={name}" for name in names]
    written = subprocess.run([PG_DUMP, *options, address], check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in written.splitlines() if "restrict" not in line)


def names_in(tenancy: Tenancy, key: str) -> list[str]:
    with tenancy.session(key) as session:
        return list(session.scalars(select(Project.name)))


@pytest.fixture
def versioned(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Tenancy:
    """A tenancy with revisions, the newest of which builds what the models declare."""
    environment.add("r1", INITIAL)
    environment.add("s1", "pass", line="shared")
    tenancy = make_tenancy(migrations=environment.folder)
    migrations.stamp_shared(tenancy, "head")
    return tenancy


def test_schemas_become_tenants_as_they_are(tenancy: Tenancy, legacy: Legacy, engine: Engine) -> None:
    legacy.make(*NAMES)
    before = [fingerprint(engine, name) for name in NAMES]
    adoption = adopt(tenancy, PATTERN)
    assert [(each.schema, each.key, each.differences) for each in adoption.schemas] == [
        (name, name.rpartition("_")[2], ()) for name in NAMES
    ]
    assert adoption.alike == (tuple(NAMES),)
    assert (adoption.shared_tables, adoption.tenant_tables) == (("shared.country",), ("project", "task"))
    assert registered(engine) == dict.fromkeys(("acme", "beta", "gamma"), "active")
    for name, found in zip(NAMES, before, strict=True):
        assert fingerprint(engine, name)[: len(found)] == found
    for name in NAMES:
        assert names_in(tenancy, name.rpartition("_")[2]) == [name]
    assert tenancy.diagnose() == []
    assert check(tenancy).odd == ()
    assert tenancy.create("new").schema == "t_new"
    again = adopt(tenancy, PATTERN)
    assert (again.schemas, again.before) == ((), tuple(NAMES))


@pytest.mark.parametrize("revision", [None, "r1"])
def test_adopting_and_releasing_leaves_the_catalog_and_the_rows_byte_equal(
    versioned: Tenancy, legacy: Legacy, engine: Engine, revision: str | None
) -> None:
    legacy.make(*NAMES, revision=revision)
    run(engine, f"GRANT USAGE ON SCHEMA {NAMES[0]} TO PUBLIC", f"CREATE VIEW {NAMES[0]}.v AS SELECT 1 AS one")
    run(engine, f"DROP VIEW {NAMES[0]}.v")
    before = catalog(engine.url, *NAMES), [fingerprint(engine, name) for name in NAMES]
    adopt(versioned, PATTERN)
    assert migrations.status(versioned).is_current
    assert catalog(engine.url, *NAMES) != before[0]
    for key in ("acme", "beta", "gamma"):
        assert release(versioned, key).key == key
    assert (catalog(engine.url, *NAMES), [fingerprint(engine, name) for name in NAMES]) == before
    assert registered(engine) == {}
    with pytest.raises(TenantNotFoundError):
        versioned.get("acme")
    adopt(versioned, PATTERN)
    assert names_in(versioned, "acme") == [NAMES[0]]


def test_a_dry_run_changes_nothing(versioned: Tenancy, legacy: Legacy, engine: Engine) -> None:
    legacy.make(*NAMES)
    before = catalog(engine.url)
    plan = adopt(versioned, PATTERN, dry_run=True)
    assert [(each.key, each.revision, each.is_stamped) for each in plan.schemas] == [
        (key, "r1", True) for key in ("acme", "beta", "gamma")
    ]
    assert plan.obstacles == ()
    assert catalog(engine.url) == before


def test_a_version_table_is_kept_and_older_schemas_migrate(
    versioned: Tenancy, environment: Environment, legacy: Legacy, engine: Engine
) -> None:
    environment.add("r2", 'op.add_column("task", sa.Column("note", sa.Text), schema="tenant")')
    legacy.make(NAMES[0], revision="r1")
    legacy.make(NAMES[1])
    plan = adopt(versioned, PATTERN, dry_run=True)
    assert next((each.revision, each.is_stamped, each.differences) for each in plan.schemas) == ("r1", False, ())
    adoption = adopt(versioned, PATTERN, revision="r1")
    assert [(each.revision, each.is_stamped) for each in adoption.schemas] == [("r1", False), ("r1", True)]
    assert {each.key for each in migrations.status(versioned).behind} == {"acme", "beta"}
    migrations.migrate(versioned)
    assert migrations.status(versioned).is_current
    release(versioned, "beta")  # its version table says what it has now
    with engine.connect() as connection:
        assert connection.scalar(text(f"SELECT version_num FROM {NAMES[1]}.alembic_version")) == "r2"


NO_LIMIT = {
    "acme": "Org-acme & Sons: Inc.",
    "beta": 'say "hi" beta',
    "gamma": "ünïcode gamma",
    "delta": "50% delta",
    "epsilon": "x" * 56 + "epsilon",
    "zeta": "public.zeta",
    "eta": "t_eta'; --",
}


@pytest.mark.all_cases
def test_every_name_that_postgresql_permits_can_be_adopted(
    versioned: Tenancy, environment: Environment, legacy: Legacy, engine: Engine
) -> None:
    legacy.make(*NO_LIMIT.values())
    before = catalog(engine.url)
    for key, name in NO_LIMIT.items():
        adopt(versioned, name, key_from=f"(?P<key>{key})")
    environment.add("r2", 'op.execute("UPDATE project SET name = name || current_schema()")', "pass")
    assert len(migrations.migrate(versioned).migrated) == len(NO_LIMIT)
    for key, name in NO_LIMIT.items():
        assert names_in(versioned, key) == [name + name]
        with versioned.session(key) as session:
            assert session.scalars(text("SELECT name FROM project")).all() == [name + name]
    assert versioned.diagnose() == []
    assert check(versioned).odd == ()
    renamed = rename(versioned, "delta", "theta", schema=True).tenant
    versioned.drop("acme")
    assert (renamed.schema, names_in(versioned, "theta")) == ("t_theta", ["50% delta50% delta"])
    for tenant in versioned.list():
        release(versioned, tenant.key)
    assert "COMMENT ON SCHEMA" not in before
    assert "tenantkit tenant" not in catalog(engine.url)


OBSTACLES: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "two schemas that give one key": ((), {"key_from": "organization"}, "gives the same key 'organization'"),
    "a key in use": (
        (),
        {"key_from": "_(taken|beta|gamma)", "schemas": "dispatch_organization_taken"},
        "is another tenant's",
    ),
    "no key": ((), {"key_from": "[0-9]+"}, "key_from= finds no key in its name"),
    "an invalid key": ((), {"key_from": "_organization_.*"}, "is no valid tenant key"),
    "a reserved key": ((), {"key_from": "_(www|beta|gamma)", "schemas": "dispatch_organization_www"}, "it is reserved"),
    "another comment": ((f"COMMENT ON SCHEMA {NAMES[1]} IS 'of the shop'",), {}, "it has the comment 'of the shop'"),
    "half another application's": (
        (f"CREATE TABLE {NAMES[1]}.basket (id int)", f"DROP TABLE {NAMES[1]}.task"),
        {"allow_differences": True},
        "it has tables that are not declared: basket",
    ),
    "tables that are missing": ((f"DROP TABLE {NAMES[1]}.task",), {}, "it lacks tables: task"),
    "another type": (
        (f"ALTER TABLE {NAMES[1]}.project ALTER name TYPE varchar(70)",),
        {},
        "it differs (column project.name",
    ),
    "an unknown revision": (
        (
            f"CREATE TABLE {NAMES[1]}.alembic_version (version_num varchar(32))",
            f"INSERT INTO {NAMES[1]}.alembic_version VALUES ('gone')",
        ),
        {},
        "its alembic_version has the revision gone, which no file in",
    ),
}


@pytest.mark.parametrize("what", OBSTACLES)
def test_an_obstacle_refuses_all_before_anything_changes(
    make_tenancy: Callable[..., Tenancy], versioned: Tenancy, legacy: Legacy, engine: Engine, what: str
) -> None:
    tenancy = make_tenancy(migrations=versioned.migrations, reserved_keys=["www"])
    legacy.make(*NAMES, "dispatch_organization_taken", "dispatch_organization_www")
    tenancy.create("taken")
    run(engine, "DROP SCHEMA dispatch_organization_taken CASCADE", "DROP SCHEMA dispatch_organization_www CASCADE")
    statements, options, says = OBSTACLES[what]
    options = {"schemas": PATTERN, "revision": "r1", **options}
    if options["schemas"] != PATTERN:
        legacy.make(options["schemas"])
    run(engine, *statements)
    before = catalog(engine.url)
    plan = adopt(tenancy, **options, dry_run=True)
    assert any(says in obstacle for obstacle in plan.obstacles), plan.obstacles
    with pytest.raises(AdoptionError) as refused:
        adopt(tenancy, **options)
    assert "Nothing was adopted" in str(refused.value)
    assert refused.value.report.obstacles == plan.obstacles
    assert catalog(engine.url) == before


@pytest.mark.all_cases
def test_differences_inside_of_tables_may_be_allowed(versioned: Tenancy, legacy: Legacy, engine: Engine) -> None:
    legacy.make(*NAMES)
    run(engine, f"DROP INDEX {NAMES[1]}.ix_tenant_task_project_id")
    assert "is not at the newest revision" in adopt(versioned, PATTERN, dry_run=True).obstacles[0]
    with pytest.raises(AdoptionError, match="give revision="):
        adopt(versioned, PATTERN, allow_differences=True)
    adoption = adopt(versioned, PATTERN, revision="r1", allow_differences=True)
    assert [len(each.differences) for each in adoption.schemas] == [0, 1, 0]
    assert adoption.alike == ((NAMES[0], NAMES[2]), (NAMES[1],))
    assert [key for odd in check(versioned).odd for key in odd.schemas] == ["beta"]


def test_shared_schemas_and_those_of_postgresql_are_no_candidates(tenancy: Tenancy, legacy: Legacy) -> None:
    legacy.make("acme")
    plan = adopt(tenancy, "%", dry_run=True)
    assert [each.schema for each in plan.schemas] == ["acme", "public"]
    assert [obstacle for obstacle in plan.obstacles if obstacle.startswith("acme")] == []
    plan = adopt(tenancy, "a%", key_from=".*", dry_run=True)
    assert [(each.schema, each.key) for each in plan.schemas] == [("acme", "acme")]


def test_shared_tables_that_are_missing_are_named(tenancy: Tenancy, legacy: Legacy, engine: Engine) -> None:
    legacy.make(NAMES[0])
    run(engine, "DROP TABLE shared.country CASCADE")
    with pytest.raises(AdoptionError, match="shared tables are missing: shared.country"):
        adopt(tenancy, PATTERN)


@pytest.mark.parametrize(
    "options", [{"schemas": "no percent"}, {"schemas": "%_%"}, {"schemas": "x%", "key_from": "("}, {"schemas": ""}]
)
def test_a_pattern_that_says_no_key_is_refused(tenancy: Tenancy, legacy: Legacy, options: dict[str, Any]) -> None:
    legacy.make(NAMES[0])
    with pytest.raises(ConfigurationError):
        adopt(tenancy, **options)


def test_without_a_registry_it_is_installed(
    make_database: Callable[..., URL], make_tenancy: Callable[..., Tenancy]
) -> None:
    tenancy = make_tenancy(database=make_database())
    run(tenancy.engine, "CREATE SCHEMA shared")
    SharedBase.metadata.create_all(tenancy.engine)
    Legacy(tenancy.engine).make(NAMES[0])
    plan = adopt(tenancy, PATTERN, dry_run=True)
    assert (plan.obstacles, "tenantkit" in schemas(tenancy.engine)) == ((), False)
    adopt(tenancy, PATTERN)
    assert names_in(tenancy, "acme") == NAMES[:1]


@pytest.mark.all_cases
@pytest.mark.parametrize("verb", ["adopt", "release"])
def test_a_kill_at_any_commit_leaves_all_or_nothing(
    versioned: Tenancy, legacy: Legacy, engine: Engine, verb: str
) -> None:
    legacy.make(*NAMES)
    if verb == "release":
        adopt(versioned, PATTERN)
    for number in count(1):
        before, commits = catalog(engine.url, *NAMES), count(1)
        with suppress(SystemExit), dying(versioned.engine, "commit", lambda *_, n=number, c=commits: next(c) == n):
            if verb == "adopt":
                adopt(versioned, PATTERN)
            else:
                release(versioned, "acme")
        if next(commits) <= number:
            break
        assert catalog(engine.url, *NAMES) == before
        assert len(registered(engine)) == (0 if verb == "adopt" else 3)
        assert versioned.diagnose() == []
    assert len(registered(engine)) == (3 if verb == "adopt" else 2)
    assert number > 1


def test_what_cannot_be_released_is_refused(versioned: Tenancy, engine: Engine) -> None:
    versioned.create("acme")
    run(engine, "UPDATE tenantkit.tenants SET status = 'dropping'")
    with pytest.raises(ProvisioningError, match="the tenant is dropping: finish its creation or its removal"):
        release(versioned, "acme")
    with pytest.raises(TenantkitError, match="There is no tenant 'nobody'"):
        release(versioned, "nobody")


def test_a_tenant_that_tenantkit_has_made_can_be_released_too(versioned: Tenancy, engine: Engine) -> None:
    versioned.create("acme")
    release(versioned, "acme")
    assert "t_acme" in schemas(engine)
    assert versioned.diagnose() == []
    assert versioned.create("acme").schema == "t_acme~2"
    assert adopt(versioned, "t_acme", key_from="t_(.*)", dry_run=True).obstacles == (
        "t_acme: the key 'acme' is another tenant's",
    )


def make_app_role(engine: Engine) -> None:
    with engine.begin() as connection:
        if connection.exec_driver_sql("SELECT FROM pg_roles WHERE rolname = 'tk_adopted_app'").first() is None:
            connection.exec_driver_sql("CREATE ROLE tk_adopted_app")


def test_the_role_of_grant_to_must_have_its_privileges(
    make_tenancy: Callable[..., Tenancy], legacy: Legacy, engine: Engine
) -> None:
    legacy.make(NAMES[0])
    make_app_role(engine)
    tenancy = make_tenancy(grant_to="tk_adopted_app")
    plan = adopt(tenancy, PATTERN, dry_run=True)
    assert "the role 'tk_adopted_app' may not read and write its tables; execute GRANT USAGE" in plan.obstacles[0]
    run(engine, plan.obstacles[0].partition("execute ")[2])
    adopt(tenancy, PATTERN)


def test_the_login_must_own_what_it_is_to_migrate(
    make_tenancy: Callable[..., Tenancy], make_database: Callable[..., URL], legacy: Legacy, engine: Engine
) -> None:
    legacy.make(NAMES[0])
    with engine.begin() as connection:
        if connection.exec_driver_sql("SELECT FROM pg_roles WHERE rolname = 'tk_adopting'").first() is None:
            connection.exec_driver_sql("CREATE ROLE tk_adopting LOGIN PASSWORD 'tk_adopting'")
        owner = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA tenantkit, shared TO tk_adopting")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA tenantkit TO tk_adopting")
        database = connection.exec_driver_sql("SELECT quote_ident(current_database())").scalar_one()
        connection.exec_driver_sql(f"GRANT CREATE ON DATABASE {database} TO tk_adopting")
        connection.exec_driver_sql("GRANT REFERENCES, SELECT ON ALL TABLES IN SCHEMA shared TO tk_adopting")
    tenancy = make_tenancy(database=engine.url.set(username="tk_adopting", password="tk_adopting"))
    [obstacle] = adopt(tenancy, PATTERN, dry_run=True).obstacles
    assert f"belongs to {owner}, so this login cannot migrate it; execute GRANT {owner} TO tk_adopting" in obstacle


def test_the_role_of_grant_to_may_use_sequences_and_later_tables(
    make_tenancy: Callable[..., Tenancy], legacy: Legacy, engine: Engine
) -> None:
    legacy.make(NAMES[0])
    make_app_role(engine)
    tenancy = make_tenancy(grant_to="tk_adopted_app")
    run(engine, adopt(tenancy, PATTERN, dry_run=True).obstacles[0].partition("execute ")[2])
    run(engine, f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {NAMES[0]} FROM tk_adopted_app")
    plan = adopt(tenancy, PATTERN, dry_run=True)
    run(engine, plan.obstacles[0].partition("execute ")[2])
    adopt(tenancy, PATTERN)
    run(engine, f"CREATE TABLE {NAMES[0]}.later (id serial)")
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL ROLE tk_adopted_app")
        connection.exec_driver_sql(f"INSERT INTO {NAMES[0]}.later DEFAULT VALUES")


def test_a_release_keeps_the_large_objects_that_sessions_have_made(
    make_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    tenancy = make_tenancy(guard="role")
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        number = session.execute(text("SELECT lo_from_bytea(0, 'a document')")).scalar_one()
        session.commit()
    release(tenancy, "acme")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT lo_get(:number)"), {"number": number}).scalar() == b"a document"


def test_the_schema_of_a_tenant_that_was_dropped_is_no_other_tenants_whatever_its_key(
    tenancy: Tenancy, legacy: Legacy
) -> None:
    legacy.make("t_beta")
    adopt(tenancy, "t_b%", key_from="eta")
    tenancy.drop("eta")
    tenancy.create("acme")
    assert tenancy.create("beta").schema == "t_beta~2"
    assert rename(tenancy, "acme", "eta", schema=True).schema == "t_eta~2"


def test_a_schema_that_an_interrupted_rename_has_left_is_neither_dropped_nor_released(
    tenancy: Tenancy, engine: Engine
) -> None:
    tenancy.create("acme")
    run(engine, "ALTER SCHEMA t_acme RENAME TO t_beta")
    for remove in (tenancy.drop, lambda key: release(tenancy, key)):
        with pytest.raises(TenantkitError, match=r"its schema is named 't_beta'.*doctor --repair"):
            remove("acme")
    tenancy.repair()
    release(tenancy, "acme")
    assert "t_acme" in schemas(engine)
