"""A new tenant's tables by a recorded script: the same as by Alembic, and never by one that could build others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tenantkit.drift.catalog.reader import hash_of
from tenantkit.registry.scripts import read
from tests import drift
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape
from tests.support.copies import Databases

Make = Callable[..., Tenancy]

RAN = 'import logging\nlogging.getLogger("ran").warning("a revision")\n'
"""Code of a revision that shows that Alembic runs it."""
TABLE = """
op.create_table("a", sa.Column("x", sa.Integer, sa.Identity(), primary_key=True), sa.Column("t", sa.Text), schema="tenant")
op.execute("INSERT INTO a (t) VALUES ('100%')")
"""
OBJECTS = """
op.execute("CREATE COLLATION sorted (provider = libc, locale = 'C')")
op.execute("CREATE TYPE mood AS ENUM ('sad', 'it''s 100%')")
op.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0) DEFAULT 1")
op.execute("CREATE TYPE pair AS (a int, b text)")
op.execute("CREATE SEQUENCE counter START 7 INCREMENT 3")
op.create_table(
    "project",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True, start=10), primary_key=True),
    sa.Column("number", sa.Integer, server_default=sa.text("nextval('counter')")),
    sa.Column("name", sa.Text(collation="C"), server_default="none", comment="it's"),
    sa.Column("size", sa.Integer, sa.Computed("length(name)", persisted=True)),
    sa.Column("state", sa.Enum("open", "done", name="state", schema="tenant")),
    sa.Column("during", postgresql.INT4RANGE),
    postgresql.ExcludeConstraint(("during", "&&"), name="apart"),
    sa.CheckConstraint("size > 0", name="sized"),
    schema="tenant", comment="100%",
)
op.execute("ALTER TABLE project ADD m mood DEFAULT 'sad', ADD p positive, ADD q pair, ADD s text COLLATE sorted")
op.create_table("task", sa.Column("id", sa.Integer, primary_key=True), sa.Column("project_id", sa.BigInteger, sa.ForeignKey("tenant.project.id", ondelete="CASCADE"), index=True), sa.Column("country", sa.Text, sa.ForeignKey("shared.country.code")), schema="tenant")
op.execute("CREATE TABLE part (k int, v text) PARTITION BY RANGE (k); CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (9)")
op.execute("CREATE FUNCTION count_projects() RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS 'SELECT count(*) FROM project'")
op.execute("CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := NEW.name || '%'; RETURN NEW; END $$")
op.execute("CREATE TRIGGER stamp BEFORE INSERT ON project FOR EACH ROW EXECUTE FUNCTION stamp()")
op.execute("CREATE VIEW names AS SELECT name FROM project; CREATE MATERIALIZED VIEW sizes AS SELECT sum(size) FROM project")
op.execute("COMMENT ON VIEW names IS 'all'; COMMENT ON FUNCTION stamp() IS 'marks'")
op.execute("ALTER TABLE project ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON project USING (size < 9) WITH CHECK (size < 8)")
op.execute("GRANT SELECT ON project TO PUBLIC; REVOKE EXECUTE ON FUNCTION stamp() FROM PUBLIC")
op.execute("CREATE STATISTICS numbers ON number, size FROM project")
op.execute("CREATE RULE quiet AS ON DELETE TO task DO INSTEAD NOTHING")
op.create_index("ix_low", "project", [sa.text("lower(name)")], schema="tenant", postgresql_where=sa.text("size > 1"))
op.bulk_insert(sa.table("project", sa.column("name"), schema="tenant"), [{"name": "it's"}, {"name": "100%"}])
op.create_index_concurrently("ix_number", "project", ["number"], schema="tenant")
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY ix_size ON project (size)")
op.backfill("project", {"number": 5}, "number = 999", schema="tenant")
"""


@pytest.fixture
def create(environment: Environment, migrated_tenancy: Make, caplog: pytest.LogCaptureFixture) -> Callable[..., bool]:
    """Create tenants in a new tenancy, as another process would; return whether Alembic ran for the last one."""

    def make(*keys: str, **options: object) -> bool:
        tenancy = migrated_tenancy(**options)
        for key in keys:
            caplog.clear()
            tenancy.create(key)
        return any(record.name == "ran" for record in caplog.records)

    return make


def look(engine: Engine, *keys: str) -> list[tuple[Any, ...]]:
    """Return what there is in each tenant's schema: its hash for `tenantkit check`, its objects and rows."""
    found: list[tuple[Any, ...]] = []
    for key in keys:
        with engine.connect() as connection:
            schema = f"t_{key}"
            acl = connection.exec_driver_sql(
                "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) "
                "UNION ALL SELECT proname, proacl::text FROM pg_proc WHERE pronamespace = to_regnamespace(%s) ORDER BY 1",
                (schema, schema),
            ).all()
            found.append((shape(connection, schema), rows(connection, schema), acl, hash_of(connection, schema)))
    return found


def scripts(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        query = "SELECT state, reason FROM tenantkit.scripts ORDER BY recorded_at"
        return [(row.state, row.reason) for row in connection.exec_driver_sql(query)]


EVERYTHING = (
    Path(drift.__file__).with_name("everything.sql").read_text().replace("$SCHEMA.path", "way").replace("$SCHEMA.", "")
)
"""What `tenantkit check` compares, as one text."""
ALL = f"op.execute(sa.text({EVERYTHING.replace(':', chr(92) + ':')!r}))"


@pytest.mark.parametrize("code", [TABLE, OBJECTS, ALL], ids=["table", "objects", "everything"])
def test_the_script_of_two_recordings_builds_the_same_as_alembic(
    code: str, environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    environment.add("one", RAN + code)
    assert create("k1")
    assert create("k2")
    assert scripts(engine) == [("confirmed", None)]
    assert not create("k3", "k4")
    first, *others = look(engine, "k1", "k2", "k3", "k4")
    assert others == [first] * 3


@pytest.mark.parametrize("where", ["t = 'none'", "t = '100%'"], ids=["no-rows", "rows"])
def test_a_backfill_has_the_result_of_alembic(
    where: str, environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    environment.add("one", f"""{RAN}{TABLE}op.backfill("a", {{"t": "new"}}, {where!r}, schema="tenant")""")
    assert create("k1", "k2", "k3") is (where == "t = '100%'")
    first, *others = look(engine, "k1", "k2", "k3")
    assert others == [first] * 2


def test_the_process_that_records_uses_its_script(
    environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    environment.add("one", RAN + TABLE)
    assert not create("k1", "k2", "k3")


def test_a_tenant_that_failed_is_no_second_recording(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    def seed(_: object) -> None:
        raise ValueError

    environment.add("one", TABLE)
    for _ in range(2):
        with pytest.raises(Exception, match="seeding"):
            migrated_tenancy().create("k1", seed=seed)
    assert scripts(engine) in ([], [("recorded", None)])


VARYING = {
    "clock": ("", "import datetime\nop.execute(f\"INSERT INTO a (t) VALUES ('{datetime.date.today()}')\")"),
    "clock at import": ("import datetime\nNOW = datetime.date.today()", "op.execute(f\"INSERT INTO a (t) VALUES ('{NOW}')\")"),
    "clock by default": ("import datetime", 'op.bulk_insert(sa.table("a", sa.column("t"), schema="tenant"), [{"t": getattr(datetime, "date").today().isoformat()}])'),
    "chance": ("", "import uuid\nop.execute(f\"INSERT INTO a (t) VALUES ('{uuid.uuid4()}')\")"),
    "environment": ("", "import os\nif 'HOME' in os.environ: op.execute(\"INSERT INTO a (t) VALUES ('home')\")"),
    "rows": ("", 'n = op.get_bind().execute(sa.text("SELECT count(*) FROM a")).scalar()\nop.execute(f"INSERT INTO a (t) VALUES ({n})")'),
    "schema": ("", "op.execute(f\"INSERT INTO a (t) VALUES ('{op.get_context().version_table_schema}')\")"),
    "dynamic import": ("", "import importlib\nimportlib.import_module('json')"),
    "refused": ("replay = False", "pass"),
    "file": ("", "import pathlib\nop.execute(pathlib.Path(FILE).read_text())"),
}  # fmt: skip


@pytest.mark.parametrize("case", VARYING)
def test_what_may_differ_later_is_always_run_by_alembic(
    case: str, environment: Environment, create: Callable[..., bool], engine: Engine, tmp_path: Path
) -> None:
    head, code = VARYING[case]
    (tmp_path / "one.sql").write_text("INSERT INTO a (t) VALUES ('from a file')")
    environment.add("one", f"FILE = {str(tmp_path / 'one.sql')!r}\n{RAN}{TABLE}{code}", head=head)
    assert create("k1")
    assert create("k2")
    assert create("k3")
    assert "confirmed" not in dict(scripts(engine))
    first, *others = (
        {name: len(found) for name, found in data.items()} for _, data, *_ in look(engine, "k1", "k2", "k3")
    )
    assert others == [first] * 2


def test_a_file_beside_the_revisions_is_part_of_them(
    environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    file = environment.folder / "sql" / "one.sql"
    file.parent.mkdir()
    file.write_text("INSERT INTO a (t) VALUES ('old')")
    environment.add("one", f"{RAN}{TABLE}import pathlib\nop.execute(pathlib.Path({str(file)!r}).read_text())")
    assert not create("k1", "k2", "k3")
    file.write_text("INSERT INTO a (t) VALUES ('new')")
    assert create("k4")


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the project that revisions import."""
    folder = tmp_path / "project_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "values.py").write_text("VALUE = 'old'\n")
    (folder / "names.py").write_text("from .values import VALUE\n")
    for file in folder.glob("*.py"):
        os.utime(file, (0, 0))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder / "values.py"
    for name in [name for name in sys.modules if name.startswith("project_of_a_test")]:
        del sys.modules[name]


def change_revision(environment: Environment, helper: Path) -> None:
    file = environment.folder / "tenant" / "one.py"
    file.write_text(file.read_text().replace("100%", "99%"))


def add_revision(environment: Environment, helper: Path) -> None:
    environment.add("two", RAN)


def change_env(environment: Environment, helper: Path) -> None:
    with (environment.folder / "env.py").open("a") as file:
        file.write("\n# changed\n")


def change_module(environment: Environment, helper: Path) -> None:
    helper.write_text("VALUE = 'new'\n")
    os.utime(helper, (1, 1))


def touch_module(environment: Environment, helper: Path) -> None:
    """Leave a module that the process may have imported before it was changed."""
    helper.write_text("VALUE = 'old'\n")


@pytest.mark.parametrize("change", [change_revision, add_revision, change_env, change_module, touch_module])
def test_a_script_is_not_used_after_a_change(
    change: Callable[[Environment, Path], None],
    environment: Environment,
    create: Callable[..., bool],
    helper: Path,
    engine: Engine,
) -> None:
    environment.add(
        "one",
        f"{RAN}{TABLE}op.execute(f\"INSERT INTO a (t) VALUES ('{{VALUE}}')\")",
        head="from project_of_a_test.names import VALUE",
    )
    assert not create("k1", "k2", "k3")
    change(environment, helper)
    assert create("k4")


REGION = "import os\nREGION = os.environ.get('REGION', 'eu')\n"


@pytest.mark.parametrize("importer", ["revision", "module", "env"])
def test_values_of_modules_that_revisions_import_are_not_frozen(
    importer: str, environment: Environment, create: Callable[..., bool], helper: Path, engine: Engine
) -> None:
    """What only ``env.py`` imports is the application, which may read the environment of the process."""
    helper.write_text(f"{REGION}VALUE = REGION\n")
    os.utime(helper, (0, 0))
    name = "project_of_a_test.names" if importer == "module" else "project_of_a_test.values"
    if importer == "env":
        env = environment.folder / "env.py"
        env.write_text(f"import {name}\n{env.read_text()}")
    environment.add("one", RAN + TABLE, head="" if importer == "env" else f"from {name} import VALUE")
    assert create("k1", "k2", "k3") is (importer != "env")
    assert scripts(engine) == ([("confirmed", None)] if importer == "env" else [])


def test_options_of_the_tenancy_are_part_of_the_script(environment: Environment, create: Callable[..., bool]) -> None:
    environment.add("one", RAN + TABLE)
    assert not create("k1", "k2", "k3")
    assert create("k4", extra_schemas=("public",))


def test_a_script_that_fails_leaves_the_creation_to_alembic(
    environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    environment.add("one", RAN + TABLE)
    create("k1", "k2")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE tenantkit.scripts SET script = replace(script, 'INSERT INTO a', 'INSERT INTO gone')"
        )
    assert create("k3")
    first, second = look(engine, "k1", "k3")
    assert first == second


GRANTS = {
    "public-insert": "GRANT INSERT ON tenantkit.scripts TO PUBLIC",
    "public-column": "GRANT UPDATE (script) ON tenantkit.scripts TO PUBLIC",
    "all-tables": "GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {role}",
    "column": "GRANT INSERT ON tenantkit.tenants TO {role}; GRANT INSERT (script) ON tenantkit.scripts TO {role}",
}


@pytest.mark.parametrize("case", GRANTS)
def test_a_script_that_others_can_change_is_not_used(
    case: str,
    environment: Environment,
    create: Callable[..., bool],
    engine: Engine,
    databases: Databases,
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment.add("one", RAN + TABLE)
    create("k1", "k2")
    with engine.begin() as connection:
        connection.exec_driver_sql(GRANTS[case].format(role=databases.make_role()))
    assert create("k3")
    assert "REVOKE" in caplog.text


def test_a_role_that_may_write_all_tables_of_the_server_counts(
    environment: Environment, create: Callable[..., bool], engine: Engine, databases: Databases
) -> None:
    environment.add("one", RAN + TABLE)
    create("k1", "k2")
    role = databases.make_role()
    with engine.connect() as connection:
        contents = connection.exec_driver_sql("SELECT contents FROM tenantkit.scripts").scalar_one()
        for grants in (False, True):
            if grants:  # not committed, as other tests on this server would see it
                connection.exec_driver_sql(f"GRANT pg_write_all_data TO {role}")
            found = read(connection, contents)
            assert found is not None
            assert found.is_protected is not grants


def test_a_role_with_rows_of_the_registry_does_not_become_superuser(
    environment: Environment, create: Callable[..., bool], engine: Engine, databases: Databases, database: URL
) -> None:
    environment.add("one", RAN + TABLE)
    create("k1", "k2")
    role = databases.make_role()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"GRANT USAGE ON SCHEMA tenantkit TO {role}; "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenantkit TO {role}"
        )
    other = create_engine(database.set(username=role))
    with other.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE tenantkit.scripts SET script = replace(script, 'INSERT', 'ALTER ROLE {role} SUPERUSER; INSERT')"
        )
    other.dispose()
    create("k3")
    with engine.connect() as connection:
        assert not connection.exec_driver_sql(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'").scalar()


def test_a_script_that_members_of_the_owner_can_change_is_used(
    environment: Environment, create: Callable[..., bool], engine: Engine, databases: Databases
) -> None:
    environment.add("one", RAN + TABLE)
    create("k1", "k2")
    owner, member, superuser = databases.make_role(), databases.make_role(), databases.make_role("SUPERUSER")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"ALTER TABLE tenantkit.scripts OWNER TO {owner}; GRANT {owner} TO {member}; "
            f"GRANT ALL ON tenantkit.scripts TO {member}, {superuser}"
        )
    assert not create("k3")


def test_nothing_is_recorded_under_a_profiler(
    environment: Environment, create: Callable[..., bool], engine: Engine
) -> None:
    environment.add("one", RAN + TABLE)
    sys.setprofile(lambda *_: None)
    try:
        create("k1")
    finally:
        sys.setprofile(None)
    assert dict(scripts(engine)).keys() == {"refused"}


def test_creations_at_once_record_one_script(environment: Environment, make_tenancy: Make, engine: Engine) -> None:
    environment.add("one", TABLE)
    tenancy = make_tenancy(migrations=environment.folder)
    keys = [f"k{number}" for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(tenancy.create, keys))
    tenancy.create("last")
    assert scripts(engine) == [("confirmed", None)]
    first, *others = look(engine, *keys, "last")
    assert others == [first] * 6
