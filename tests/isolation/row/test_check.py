"""The check of common tables: with their policies, against what the revisions or the models build."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import Tenancy
from tenantkit.drift import check
from tenantkit.migrations import migrate, revision
from tests.cli.project import Result, invoke
from tests.drift.conftest import run_script, words_of
from tests.isolation.row.conftest import APP, as_role, make_owner
from tests.isolation.row.models import APPLICATION
from tests.isolation.row.test_provisioning import FAULTS
from tests.migrations.environments import Environment, files

NOT_COMPARED = {"foreign table", "mark"}
"""Faults that only the doctor finds."""

CHANGES: dict[str, tuple[str, list[str]]] = {
    "missing policy": ("DROP POLICY tenantkit ON rows.tag", ["policy tenantkit is missing on tag"]),
    "further policy": ("CREATE POLICY more ON rows.tag USING (true)", ["policy more on tag should not be there"]),
    "not forced": ("ALTER TABLE rows.tag NO FORCE ROW LEVEL SECURITY", ["table tag: row-level security for its owner is off, not on"]),
    "disabled": ("ALTER TABLE rows.tag DISABLE ROW LEVEL SECURITY", ["table tag: row-level security is off, not on"]),
    "index": ("DROP INDEX rows.ix_tenant_invoice_amount", ["index ix_tenant_invoice_amount is missing on invoice"]),
    "column": ("ALTER TABLE rows.tag ADD extra int", ["column tag.extra should not be there"]),
}  # fmt: skip


@pytest.fixture
def make_migrated(url: URL, environment: Environment) -> Generator[Callable[..., Tenancy]]:
    """Make a tenancy whose one revision autogenerate has written, with tenants of the given isolations."""
    made: list[Tenancy] = []

    def make(*isolations: str) -> Tenancy:
        made.append(make_owner(url, migrations=environment.folder))
        if not files(environment):
            with made[0].engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE shared.alembic_version (version_num varchar(32) PRIMARY KEY)")
                connection.exec_driver_sql("INSERT INTO shared.alembic_version VALUES ('s1')")
            environment.add("s1", "pass", line="shared")
            revision(made[0], "models", autogenerate=True, rev_id="r1")
        for number, isolation in enumerate(isolations):
            made[0].create(f"{isolation}{number}", isolation=isolation)
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.all_cases
@pytest.mark.parametrize("isolations", [("row", "row"), ("row", "row", "schema", "schema")])
def test_the_exit_code_says_whether_common_tables_differ(
    make_migrated: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch, isolations: tuple[str, ...]
) -> None:
    tenancy = make_migrated(*isolations)
    monkeypatch.setattr("tests.isolation.row.conftest.tenancy", tenancy, raising=False)

    def run(*arguments: str) -> Result:
        return invoke("--app", "tests.isolation.row.conftest:tenancy", "check", *arguments)

    for options in ((), ("--models",)):
        done = run(*options)
        assert (done.code, "No drift:" in done.out, "nothing" in done.err) == (0, True, False), done
        standards = [each["standard"] for each in run("--json", *options).json["groups"]]
        assert sorted(standards) == sorted(
            {"row": "revisions", "schema": "revisions" if options else "majority"}[each] for each in {*isolations}
        )
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("CREATE POLICY more ON rows.tag USING (true)")
    done = run()
    assert done.code == 1
    assert "row0, row1: policy more on tag should not be there" in done.out
    assert run("--tenants", "row1").code == 1
    if "schema" in isolations:
        assert run("--tenants", "schema2").code == 0


@pytest.mark.some_values(change=4)
@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_of_common_tables_is_named_and_repaired(pair: Tenancy, engine: Engine, change: str) -> None:
    assert not check(pair).has_drift
    statement, words = CHANGES[change]
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    report = check(pair)
    assert words_of(report) == {"acme": words, "berta": words}
    run_script(pair.engine.url, report.odd[0].script("berta"))
    assert not check(pair).has_drift
    assert pair.diagnose() == []


@pytest.mark.some_values(fault=9)
@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - NOT_COMPARED))
def test_what_opens_a_common_table_is_drift(pair: Tenancy, engine: Engine, fault: str) -> None:
    with engine.begin() as connection:
        for each in FAULTS[fault][0].split("; "):
            connection.exec_driver_sql(each)
    report = check(pair)
    assert {*words_of(report)} == {"acme", "berta"}
    run_script(engine.url, report.odd[0].script("acme"))
    assert not check(pair).has_drift
    assert pair.diagnose() == []


@pytest.mark.all_cases
def test_models_are_compared_with_common_tables(
    make_migrated: Callable[..., Tenancy], environment: Environment
) -> None:
    make_migrated("row")
    environment.add("r2", "op.add_column('tag', sa.Column('spare', sa.Integer), schema='tenant')", after="r1")
    tenancy = make_migrated()
    behind = check(tenancy, models=True)
    assert [(group.revision, group.standard, group.alike) for group in behind.groups] == [("r1", "revisions", 1)]
    assert [str(each) for each in behind.models] == ["column tag.spare should not be there"]
    migrate(tenancy)
    assert [str(each) for each in check(tenancy, models=True).models] == ["column tag.spare should not be there"]
    assert not check(tenancy).has_drift


def test_a_revision_that_the_code_does_not_have_is_compared_with_nothing(
    make_migrated: Callable[..., Tenancy], environment: Environment
) -> None:
    make_migrated("row")
    environment.add("r2", "op.add_column('tag', sa.Column('spare', sa.Integer), schema='tenant')", after="r1")
    migrate(make_migrated())
    environment.remove("r2")
    assert check(make_migrated()).alone == ("row0",)


@pytest.mark.all_cases
def test_autogenerate_does_not_see_the_isolation(
    make_migrated: Callable[..., Tenancy], environment: Environment
) -> None:
    tenancy = make_migrated("row", "schema")
    [first] = files(environment)
    written = first.read_text()
    for word in ("tenant_id", "policy", "no_tenant", "current_setting"):
        assert word not in written.casefold()
    assert revision(tenancy, "more", autogenerate=True) is None


def test_a_superuser_checks_common_tables(pair: Tenancy, pair_url: URL) -> None:
    options: dict[str, Any] = {**APPLICATION, "listen": False, "grant_to": APP}
    with closing(Tenancy(pair_url, **options)) as superuser:
        assert not check(superuser, models=True).has_drift


INDEXES: dict[str, tuple[str, str, str]] = {
    "bigint": ("bigint", "USING btree (tenant_id, v)", "v = 13"),
    "integer": ("integer", "USING btree (tenant_id, v)", "v < 2"),
    "text": ("text", "USING btree (tenant_id, v)", "v = '13'"),
    "uuid": ("uuid", "USING btree (tenant_id, v)", "v = 'c9eb77b9-7f8b-4a42-9b72-2b1f5cf9e0ff'"),
    "date": ("date", "USING btree (tenant_id, v)", "v = current_date"),
    "timestamptz": ("timestamptz", "USING btree (tenant_id, v)", "v > now()"),
    "float": ("double precision", "USING btree (tenant_id, v)", "v = 1.5"),
    "hash": ("text", "USING hash (v)", "v = '13'"),
    "numeric": ("numeric", "USING btree (tenant_id, v)", "v = 13"),
    "enum": ("rows.kind", "USING btree (tenant_id, v)", "v = 'CUSTOMER'"),
    "array": ("text[]", "USING gin (v)", "v @> ARRAY['a']"),
    "jsonb": ("jsonb", "USING gin (v)", """v @> '{"a": 1}'"""),
    "range": ("int4range", "USING gist (v)", "v @> 4"),
    "interval": ("interval", "USING btree (tenant_id, v)", "v = '1 day'"),
    "expression": ("text", "USING btree (tenant_id, lower(v))", "lower(v) = 'a'"),
    "LIKE": ("text", "USING btree (tenant_id, v text_pattern_ops)", "v LIKE 'a%%'"),
    "search": ("tsvector", "USING gin (v)", "v @@ 'a'::tsquery"),
}


@pytest.mark.some_values(kind=10)
@pytest.mark.parametrize("kind", INDEXES)
def test_indexes_that_policies_switch_off_are_named(pair: Tenancy, engine: Engine, pair_url: URL, kind: str) -> None:
    type_, index, condition = INDEXES[kind]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE rows.tag ADD v {type_}")
        connection.exec_driver_sql(f"CREATE INDEX mine ON rows.tag {index}")
    application = create_engine(as_role(pair_url, APP))
    with application.connect() as connection:
        for setting in ("tenantkit.tenant TO 1", "enable_seqscan TO off", "search_path TO rows"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        plan = connection.exec_driver_sql(f"EXPLAIN SELECT * FROM tag WHERE {condition}").scalars().all()
    application.dispose()
    is_used = any("Index Cond" in line and "(v" in line.replace("lower(v", "(v") for line in plan)
    report = check(pair)
    assert ("mine" in " ".join(report.unused_indexes)) is not is_used, (report.unused_indexes, plan)
