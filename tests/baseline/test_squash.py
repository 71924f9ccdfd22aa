"""What a baseline is written from, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import (
    BackupError,
    ConfigurationError,
    Tenancy,
    TenantkitError,
    TenantNotFoundError,
    migrations,
    transfer,
)
from tenantkit.baseline import squash
from tests.adoption.conftest import run
from tests.migrations.environments import Environment, files
from tests.migrations.shapes import differences, look
from tests.support.copies import Databases

NOTES = 'op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), schema="tenant")'
COUNTRY = 'sa.Column("country", sa.String, sa.ForeignKey("shared.country.code"))'
FUNCTIONS = """
op.execute("CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS 'SELECT 2 * x'")
op.execute("CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.text := 'a:b ' || NEW.text || E'\\\\\\\\'; RETURN NEW; END$$")
op.execute("CREATE TRIGGER stamp BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION stamp()")
op.execute("CREATE VIEW doubled AS SELECT twice(id) AS id FROM note")
op.execute("COMMENT ON FUNCTION twice(int) IS 'it''s 100% \\\\:x'")
op.execute("INSERT INTO note (text) VALUES ('one'), (NULL)")
"""


@pytest.fixture
def grown(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Tenancy:
    """A tenancy with a history of three revisions, and the tenant acme at the last."""
    environment.add("r1", NOTES)
    environment.add(
        "r2",
        f'op.add_column("note", {COUNTRY}, schema="tenant"); op.add_column("note", sa.Column("text", sa.Text), schema="tenant")',
    )
    environment.add("r3", FUNCTIONS)
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme")
    return tenancy


def living(engine: Engine, tenancy: Tenancy, *keys: str) -> list[Any]:
    with engine.connect() as connection:
        return [look(connection, tenancy.get(key).schema) for key in keys]


def test_rows_that_policies_hide_from_the_owner_are_written(
    make_tenancy: Callable[..., Tenancy], environment: Environment, database: URL, databases: Databases, engine: Engine
) -> None:
    role = databases.make_role()
    run(engine, f'GRANT CREATE ON DATABASE "{database.database}" TO {role}', "DROP SCHEMA tenantkit CASCADE")
    environment.add("r1", 'op.execute("CREATE TABLE note (id int)")')
    environment.add("r2", 'op.execute("INSERT INTO note VALUES (1), (2)")')
    environment.add(
        "r3",
        """
        for each in ("ENABLE", "FORCE"):
            op.execute(f"ALTER TABLE note {each} ROW LEVEL SECURITY")
        op.execute("CREATE POLICY p ON note USING (id::text = current_setting('tenantkit.none', true))")
        """,
    )
    options = {"database": database.set(username=role), "migrations": environment.folder, "shared": None}
    make_tenancy(**options).install()
    assert squash(make_tenancy(**options)).rows == 2
    make_tenancy(**options).create("acme")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM t_acme.note ORDER BY 1").scalars().all() == [1, 2]
        forced = "SELECT relforcerowsecurity FROM pg_class WHERE oid = 't_acme.note'::regclass"
        assert connection.exec_driver_sql(forced).scalar_one()


def test_a_baseline_means_the_same_with_other_settings(
    make_tenancy: Callable[..., Tenancy], environment: Environment, engine: Engine
) -> None:
    environment.add(
        "r1", "op.execute(\"CREATE TABLE note (day date DEFAULT '2026-02-01', number float, took interval)\")"
    )
    environment.add("r2", "op.execute(\"INSERT INTO note VALUES ('2026-02-01', 0.1::float8 + 0.2, '-1 day +1 hour')\")")
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme")
    options = "-c intervalstyle=sql_standard -c extra_float_digits=0"
    developer = make_tenancy(migrations=environment.folder, engine_options={"connect_args": {"options": options}})
    assert squash(developer).rows == 1
    make_tenancy(migrations=environment.folder).create("beta")
    run(engine, "INSERT INTO t_acme.note (number) VALUES (0)", "INSERT INTO t_beta.note (number) VALUES (0)")
    acme, beta = (f"SELECT * FROM t_{key}.note ORDER BY number" for key in ("acme", "beta"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql(acme).all() == connection.exec_driver_sql(beta).all()


@pytest.mark.parametrize("source", ["revisions", "tenant"])
def test_a_baseline_has_functions_triggers_views_rows_and_keys_to_shared_tables(
    grown: Tenancy, make_tenancy: Callable[..., Tenancy], environment: Environment, engine: Engine, source: str
) -> None:
    made = squash(grown, "head", **({} if source == "revisions" else {"from_tenant": "acme"}))
    assert (made.revision, made.replaced, made.left_out) == ("r3", ("r1", "r2"), ())
    assert made.rows == (2 if source == "revisions" else 0)
    assert [path.name for path in files(environment)] == ["r3.py"]
    environment.add("r4", 'op.add_column("note", sa.Column("late", sa.Text), schema="tenant")', after="r3")
    tenancy = make_tenancy(migrations=environment.folder)
    assert len(migrations.migrate(tenancy).outcomes) == 1
    for key in ("second", "third", "beta"):  # the last one by the recorded script
        tenancy.create(key)
    with engine.connect() as connection:
        states = connection.exec_driver_sql("SELECT state FROM tenantkit.scripts ORDER BY recorded_at DESC")
        assert states.scalars().first() == "confirmed"
    before, after = living(engine, grown, "acme", "beta")
    if source == "tenant":
        before[1]["note"] = []
        before, after = (
            ([line for line in lines if not line.startswith("sequence")], data) for lines, data in (before, after)
        )
    assert [line for line in differences(after, before) if " NOT NULL " not in line] == []
    with engine.connect() as connection:
        own = connection.exec_driver_sql(
            "SELECT proconfig::text FROM pg_proc WHERE pronamespace = 't_beta'::regnamespace AND proname = 'twice'"
        )
        assert "t_beta" in str(own.scalar_one())


def test_a_baseline_is_refused_for_what_would_be_lost(grown: Tenancy, environment: Environment, engine: Engine) -> None:
    def refused(words: str, *arguments: Any, **options: Any) -> None:
        before = {path: path.read_text() for path in files(environment)}
        with pytest.raises(ConfigurationError, match=words):
            squash(grown, *arguments, **options)
        assert {path: path.read_text() for path in files(environment)} == before

    refused("r1 is the first revision", "r1")
    refused("'heads' is 0|'base'", "base")
    refused("r2 is not that", "r2", from_models=True)
    refused("two sources", from_models=True, from_tenant="acme")
    refused("acme' is at r3, not at r2", "r2", from_tenant="acme")
    with pytest.raises(TenantNotFoundError):
        squash(grown, like="nobody")
    run(engine, "ALTER TABLE t_acme.note ADD own text")
    refused("tenant 'acme' differs: .*note.own", like="acme")
    run(engine, "ALTER TABLE t_acme.note DROP own")
    environment.add("side", "pass", after="r1")
    refused("side would lose the revisions", "r3")
    environment.remove("side")
    refused("tenant 'acme' differs", from_models=True)
    environment.add("r4", 'op.execute("CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)")', after="r3")
    refused("not at r4 or above: acme at r3")
    migrations.migrate(grown)
    refused("would not have function total")
    made = squash(grown, allow_losses=True, dry_run=True)
    assert "# Left out: function total(integer)" in made.text
    environment.add(
        "r5", "op.execute(f\"CREATE VIEW named AS SELECT '{op.get_context().version_table_schema}' AS name\")"
    )
    migrations.migrate(grown)
    refused("names the schema of its tenant as a text", allow_losses=True)
    for text, words in (("gen_random_uuid()", "differ each time"), ("current_schema()", "the name of its schema")):
        environment.add("r5", f'op.execute("INSERT INTO note (text) VALUES ({text})")', after="r4")
        run(engine, "DELETE FROM t_acme.alembic_version", "INSERT INTO t_acme.alembic_version VALUES ('r5')")
        refused(words, allow_losses=True)
    environment.remove("r5")
    refused("not at r4 or above: acme at r5", allow_losses=True)


@pytest.mark.all_cases
def test_tenants_in_other_databases_have_no_keys_to_shared_tables(
    grown: Tenancy, make_tenancy: Callable[..., Tenancy], environment: Environment
) -> None:
    squash(grown)
    grown = make_tenancy(migrations=environment.folder)
    tenant = grown.create("own", isolation="database")
    try:
        assert [path for path in migrations.status(grown).placements if path.state != "current"] == []
        with grown.session(tenant) as session:
            assert session.connection().exec_driver_sql("SELECT count(*) FROM note").scalar_one() == 2
    finally:
        grown.drop("own")


def test_a_tenant_or_a_backup_below_a_baseline_is_told_so(
    grown: Tenancy, make_tenancy: Callable[..., Tenancy], environment: Environment, engine: Engine, tmp_path: Path
) -> None:
    run(engine, "UPDATE t_acme.alembic_version SET version_num = 'r2'")
    transfer.backup(grown, "acme", tmp_path / "acme.tenant")
    run(engine, "UPDATE t_acme.alembic_version SET version_num = 'r3'")
    squash(grown, "r2")
    squash(make_tenancy(migrations=environment.folder), "r3")
    tenancy = make_tenancy(migrations=environment.folder)
    run(engine, "UPDATE t_acme.alembic_version SET version_num = 'r1'")
    with pytest.raises(TenantkitError, match="'r1', which the baseline r3 has replaced"):
        migrations.migrate(tenancy)
    with pytest.raises(BackupError, match="r2, which the baseline r3 has replaced.*code that still has r2"):
        transfer.restore(tenancy, tmp_path / "acme.tenant", key="copy")


def test_lines_that_end_as_in_mails_are_kept(make_tenancy: Callable[..., Tenancy], environment: Environment) -> None:
    environment.add("r1", 'op.execute("CREATE TABLE note (text text)")')
    environment.add("r2", r"""op.execute("INSERT INTO note VALUES (E'Dear\\r\\n  you,\\r\\f\\n')")""")
    tenancy = make_tenancy(migrations=environment.folder)
    tenancy.create("acme")
    squash(tenancy)
    make_tenancy(migrations=environment.folder).create("beta")
    with tenancy.engine.connect() as connection:
        acme, beta = (
            connection.exec_driver_sql(f"SELECT * FROM t_{key}.note").scalar_one() for key in ("acme", "beta")
        )
    assert "\r\n" in acme
    assert beta == acme


def test_a_revision_that_works_elsewhere_is_neither_run_nor_replaced_without_a_word(
    make_tenancy: Callable[..., Tenancy], environment: Environment, tmp_path: Path
) -> None:
    environment.add("r1", NOTES)
    environment.add("r2", f"import pathlib; pathlib.Path({str(tmp_path / 'bucket')!r}).touch()", head="replay = False")
    environment.add("r3", 'op.execute("CREATE TABLE other (id int)")')
    with pytest.raises(ConfigurationError, match="not have what r2 does outside of its connection"):
        squash(make_tenancy(migrations=environment.folder))
    assert not (tmp_path / "bucket").exists()
    made = squash(make_tenancy(migrations=environment.folder), allow_losses=True)
    assert "# Left out: what r2 does outside" in made.text


def test_a_replaced_revision_that_is_there_again_is_refused(
    make_tenancy: Callable[..., Tenancy], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.add("r1", 'op.execute("CREATE TABLE IF NOT EXISTS note (id int)")')
    environment.add("r2", 'op.execute("INSERT INTO note VALUES (1)")')
    environment.add("r3", 'op.execute("CREATE TABLE other (id int)")')
    [r1, *_] = files(environment)
    tenancy, contents = make_tenancy(migrations=environment.folder), r1.read_text()
    tenancy.create("acme")
    unlink = Path.unlink
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", lambda self, **options: dies(self, unlink, **options))
        squash(tenancy)
    for _ in range(2):  # after the interruption, and after a merge
        tenancy = make_tenancy(migrations=environment.folder)
        for work in (migrations.migrate, lambda tenancy: tenancy.create("beta")):
            with pytest.raises(ConfigurationError, match="r1.py is there, and the baseline r3 has replaced it"):
                work(tenancy)
        r1.unlink(missing_ok=True)
        assert migrations.migrate(make_tenancy(migrations=environment.folder)).unchanged == 1
        r1.write_text(contents)


def dies(path: Path, unlink: Callable[..., None], **options: bool) -> None:
    if path.name == "r1.py":
        raise KeyboardInterrupt
    unlink(path, **options)
