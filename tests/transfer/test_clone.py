"""Clones of tenants: what they have, what functions change in them, and what is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal
from sqlalchemy import URL, Column, Computed, Engine, Integer, MetaData, String, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from tenantkit import (
    BackupError,
    ConfigurationError,
    ProvisioningError,
    Status,
    Tenancy,
    TenantExistsError,
    TenantNotFoundError,
    TenantUnavailableError,
)
from tenantkit.asyncio import AsyncTenancy
from tenantkit.migrations import migrate
from tenantkit.transfer import Transform, clone, living, preview_clone, source
from tenantkit.usage import describe
from tests.drift.conftest import in_schema, run_script
from tests.migrations.environments import Environment
from tests.support.catalog import registered
from tests.support.dumps import PG_DUMP
from tests.support.models import APPLICATION, Country, Project, Task

Fill = Callable[..., None]
Read = Callable[[Tenancy, str], list[tuple[int, str, list[str]]]]
TENANT = MetaData(schema="tenant")
PERSON = Table(
    "person",
    TENANT,
    Column("id", Integer, primary_key=True),
    Column("email", String),
    Column("profile", JSONB),
    Column("shout", String, Computed("upper(email)")),
)
EVENT = Table("event", TENANT, Column("year", Integer, primary_key=True), Column("who", String, primary_key=True))
PEOPLE = """
CREATE TABLE person (id int PRIMARY KEY, email text, profile jsonb, shout text GENERATED ALWAYS AS (upper(email)) STORED);
CREATE TABLE event (year int, who text, PRIMARY KEY (year, who)) PARTITION BY RANGE (year);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM (2025) TO (2026);
CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM (2026) TO (2027);
CREATE MATERIALIZED VIEW known AS SELECT email FROM person;
"""
CANARY = "canary@example.com"


@pytest.fixture
def people(make_tenancy: Callable[..., Tenancy], owned: URL, environment: Environment) -> Tenancy:
    """A tenancy with a tenant ``acme`` that has personal data."""
    environment.add("t1", f"op.execute({PEOPLE!r})")
    tenancy = make_tenancy(database=owned, migrations=environment.folder, shared=None, tenant=TENANT)
    tenancy.create("acme")
    insert = f"""
    INSERT INTO person VALUES (1, '{CANARY}', '{{"mail": "{CANARY}", "n": 1.10}}'), (2, NULL, 'null'), (3, 'b\\c', NULL);
    INSERT INTO event VALUES (2025, '{CANARY}'), (2026, '{CANARY}'), (2026, 'x');
    REFRESH MATERIALIZED VIEW known;
    """
    run_script(owned, in_schema("t_acme", insert))
    return tenancy


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_clone_has_the_rows_and_the_name_but_not_the_domains(
    tenancy: Tenancy, engine: Engine, fill: Fill, read: Read
) -> None:
    tenancy.create("acme", name="Acme", attributes={"plan": "pro"}, domains=["acme.example.com"])
    fill(tenancy, "acme", "one", "two")
    tenancy.suspend("acme")
    planned = preview_clone(tenancy, "acme", as_="beta")
    assert registered(engine) == {"acme": "suspended"}
    cloned = clone(tenancy, "acme", as_="beta")
    assert (cloned.plan, cloned.rows) == (planned, {"project": 2, "task": 2})
    made = tenancy.get("beta")
    assert (made.name, made.attributes, made.domains, made.status) == ("Acme", {"plan": "pro"}, (), Status.ACTIVE)
    assert read(tenancy, "beta") == read(tenancy, "acme")
    fill(tenancy, "beta", "three")
    assert len(read(tenancy, "acme")) == 2
    [event] = [each for each in describe(tenancy, "beta").history if each.event == "cloned"]
    assert event.details == {"key": "acme"}

    other = clone(tenancy, "beta", as_="gamma", name="Demo", attributes={}, suspended=True).tenant
    assert (other.name, other.attributes, other.status) == ("Demo", {}, Status.SUSPENDED)
    assert len(read(tenancy, "gamma")) == 3
    assert tenancy.diagnose() == []


def test_nothing_of_a_column_with_a_function_is_in_the_clone(people: Tenancy, owned: URL, engine: Engine) -> None:
    def forget(row: dict[str, Any]) -> dict[str, Any]:
        if row["profile"]:
            row["profile"]["mail"] = None  # in place
        return row

    anonymous = Transform(
        columns={PERSON.c.email: lambda email: f"x\t{len(email)}\\N", EVENT.c.who: lambda who: f"w{len(who)}"},
        rows={PERSON: forget},
    )
    cloned = clone(people, "acme", as_="beta", transform=anonymous)
    assert cloned.plan.transformed == ("event.who", "person", "person.email")
    dumped = subprocess.run(
        [PG_DUMP, "--schema", "t_beta", owned.set(drivername="postgresql").render_as_string(hide_password=False)],
        check=True,
        capture_output=True,
    ).stdout
    assert b"event_2026" in dumped
    assert b"canary" not in dumped.lower()
    assert rows(engine, "SELECT id, email, profile::text, shout FROM t_beta.person ORDER BY id") == [
        (1, "x\t18\\N", '{"n": 1.1, "mail": null}', "X\t18\\N"),
        (2, None, "null", None),
        (3, "x\t3\\N", None, "X\t3\\N"),
    ]
    assert rows(engine, "SELECT email FROM t_beta.known WHERE email LIKE 'x%' ORDER BY 1") == [
        ("x\t18\\N",),
        ("x\t3\\N",),
    ]
    assert rows(engine, "SELECT tableoid::regclass::text, who FROM t_beta.event ORDER BY 1, 2") == [
        ("t_beta.event_2025", "w18"),
        ("t_beta.event_2026", "w1"),
        ("t_beta.event_2026", "w18"),
    ]
    assert rows(engine, "SELECT email FROM t_acme.person WHERE id = 1") == [(CANARY,)]


def test_rows_that_are_left_out_take_those_that_refer_to_them_along(
    tenancy: Tenancy, engine: Engine, fill: Fill, read: Read
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one", "two")
    first = {Project: lambda row: row if row["id"] == 1 else None}
    with pytest.raises(ProvisioningError, match="'task' break fk_task_project_id_project, 23503") as caught:
        clone(tenancy, "acme", as_="beta", transform=Transform(rows=first))
    assert "of two" not in str(caught.value)
    assert registered(engine) == {"acme": "active", "beta": "failed"}
    both = {**first, Task: lambda row: row if row["project_id"] == 1 else None}
    assert clone(tenancy, "acme", as_="beta", transform=Transform(rows=both)).rows == {"project": 1, "task": 1}
    assert read(tenancy, "beta") == [(1, "one", ["of one"])]
    foreign = Transform(columns={Project.id: lambda number: number + 10, Task.project_id: lambda number: number + 10})
    clone(tenancy, "acme", as_="gamma", transform=foreign)
    assert [number for number, *_ in read(tenancy, "gamma")] == [11, 12]
    assert tenancy.diagnose() == []


def fails(_: Any) -> Any:
    raise ValueError(CANARY)


def exits(_: Any) -> Any:
    raise SystemExit(CANARY)


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (
            Transform(columns={PERSON.c.email: fails}),
            r"person.email: .* the row id = 1 raised ValueError.*test_clone.py",
        ),
        (Transform(rows={PERSON: exits}), "person: .* the row id = 1 raised SystemExit"),
        (Transform(columns={EVENT.c.who: fails}), "event.who: .* the row number 1 raised ValueError"),
        (Transform(columns={PERSON.c.email: lambda _: object()}), "returned a object, which the column cannot have"),
        (Transform(columns={PERSON.c.profile: lambda _: {1, 2}}), "returned a set, which the column cannot have"),
        (Transform(columns={PERSON.c.id: lambda _: "x"}), r"'person' does not take the rows \(22P02\)"),
        (Transform(columns={PERSON.c.id: lambda _: 7}), r"'person' does not take the rows \(person_pkey, 23505\)"),
        (Transform(columns={PERSON.c.id: lambda _: None}), r"'person' does not take the rows \(id, 23502\)"),
        (Transform(rows={PERSON: lambda row: {"id": row["id"]}}), r"returned \['id'\] instead of a mapping"),
        (Transform(rows={PERSON: lambda row: [row]}), "returned list instead of a mapping"),  # type: ignore[dict-item,return-value]
    ],
)
def test_a_function_that_fails_is_told_without_a_value(
    people: Tenancy, engine: Engine, transform: Transform, said: str
) -> None:
    with pytest.raises(ProvisioningError, match=f"(?s){said}") as caught:
        clone(people, "acme", as_="beta", transform=transform)
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert registered(engine) == {"acme": "active", "beta": "failed"}
    people.repair()
    assert registered(engine) == {"acme": "active"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Transform(columns={Country.name: str}), "'shared.country': a shared table"),
        (lambda: Transform(rows={PERSON: dict}), "'tenant.person': no table of this application"),
        (lambda: Transform(columns={"email": str}), "has email: it takes columns"),
        (lambda: Transform(columns={Column("mail", String): str}), "has mail: it takes columns"),
        (lambda: Transform(rows={"project": dict}), "has project: it takes models and tables"),
        (lambda: Transform(rows={Project.name: dict}), "has Project.name: it takes models and tables"),
        (lambda: Transform(columns={Project.name: "x"}), "takes a function"),  # type: ignore[dict-item]
        (lambda: Transform(columns=[Project.name]), "takes a mapping"),
        (lambda: Transform(rows={Project: dict, Project.__table__: dict}), "'tenant.project' twice"),
        (lambda: Transform(columns={Project.name: str, Project.__table__.c.name: str}), "'project.name' twice"),
    ],
)
def test_a_transform_of_something_else_is_refused_at_once(tenancy: Tenancy, make: Any, said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said):
        clone(tenancy, "acme", as_="beta", transform=make())


def test_what_the_tables_do_not_have_is_refused_before_anything_changes(
    people: Tenancy, owned: URL, engine: Engine
) -> None:
    with pytest.raises(ConfigurationError, match="'person.shout', which is generated"):
        clone(people, "acme", as_="beta", transform=Transform(columns={PERSON.c.shout: str}))
    run_script(owned, in_schema("t_acme", "ALTER TABLE person RENAME email TO mail"))
    with pytest.raises(BackupError, match="do not have: person.email"):
        clone(people, "acme", as_="beta", transform=Transform(columns={PERSON.c.email: str}))
    assert registered(engine) == {"acme": "active"}


def test_wrong_tenants_are_refused_before_anything_changes(tenancy: Tenancy, engine: Engine, fill: Fill) -> None:
    tenancy.create("acme")
    for options, error in (
        ({"key": "nobody"}, TenantNotFoundError),
        ({"as_": "acme"}, TenantExistsError),
        ({"database": "mars"}, ConfigurationError),
        ({"isolation": "planet"}, ConfigurationError),
    ):
        with pytest.raises(error):
            clone(tenancy, **{"key": "acme", "as_": "beta", **options})
    with engine.begin() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'failed'"))
    tenancy.cache.clear()
    with pytest.raises(TenantUnavailableError):
        clone(tenancy, "acme", as_="beta")
    assert registered(engine) == {"acme": "failed"}


def test_a_clone_is_one_snapshot_of_a_tenant_that_is_written_to(
    tenancy: Tenancy, engine: Engine, fill: Fill, read: Read
) -> None:
    for key in ("acme", "globex"):
        tenancy.create(key)
        fill(tenancy, key, "one")

    def write(table: str, *_: object) -> None:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
            for schema in ("t_acme", "t_globex"):
                connection.execute(text(f"INSERT INTO {schema}.project (name) VALUES (:name)"), {"name": table})
                connection.execute(
                    text(f"INSERT INTO {schema}.task (title, state, project_id) VALUES ('x', 'OPEN', 1)")
                )
            connection.execute(text("INSERT INTO shared.country VALUES (:name, '')"), {"name": table})

    slow = Transform(columns={Project.name: lambda name: name})
    clone(tenancy, "acme", as_="beta", transform=slow, progress=write)
    assert read(tenancy, "beta") == [(1, "one", ["of one"])]
    assert [len(read(tenancy, key)) for key in ("acme", "globex")] == [3, 3]
    fill(tenancy, "beta", "two")
    assert max(number for number, *_ in read(tenancy, "beta")) > 3, "the sequence is that of the tenant"


def test_a_tenant_that_is_behind_is_migrated_in_its_clone_only(
    make_owned: Callable[[str], Tenancy],
    make_tenancy: Callable[..., Tenancy],
    owned: URL,
    engine: Engine,
    environment: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_owned("CREATE TABLE n (id int PRIMARY KEY)").create("acme")
    run_script(owned, in_schema("t_acme", "INSERT INTO n VALUES (1)"))
    body = "with op.get_context().autocommit_block():\n        op.execute('CREATE INDEX CONCURRENTLY i ON n (id)')"
    environment.add("t2", body)
    tenancy = make_tenancy(database=owned, migrations=environment.folder)
    monkeypatch.setattr("tenantkit.transfer.filling.IN_ONE_TRANSACTION", 0)
    plan = clone(tenancy, "acme", as_="beta").plan
    assert (plan.from_revision, plan.to_revision) == ("t1", "t2")
    versions = [rows(engine, f"SELECT version_num FROM t_{key}.alembic_version") for key in ("acme", "beta")]
    assert versions == [[("t1",)], [("t2",)]]
    migrate(tenancy, jobs=0)

    original = source.reading
    monkeypatch.setattr(living, "_PATIENCE", 0.2)

    def changing(*given: Any, **options: Any) -> Any:
        if options:  # the second time
            run_script(owned, in_schema("t_acme", "ALTER TABLE n ADD c int"))
        return original(*given, **options)

    monkeypatch.setattr("tenantkit.transfer.living.reading", changing)
    with pytest.raises(ProvisioningError, match="its tables have been changed meanwhile"):
        clone(tenancy, "acme", as_="gamma")
    monkeypatch.setattr("tenantkit.transfer.living.reading", original)
    monkeypatch.setattr(source, "PATIENCE", 0.2)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('tenantkit migration'), hashtext('t_beta'))")
        with pytest.raises(BackupError, match="its tables are being migrated"):
            clone(tenancy, "beta", as_="delta")
        connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
    clone(tenancy, "beta", as_="delta")
    assert registered(engine) == {"acme": "active", "beta": "active", "gamma": "failed", "delta": "active"}


def test_an_asynchronous_application_clones_in_a_thread(
    database: URL, portal: BlockingPortal, tenancy: Tenancy, fill: Fill, read: Read
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", "one")
    asynchronous = AsyncTenancy(database, listen=False, **APPLICATION)

    async def run() -> None:
        await asynchronous.run(clone, "acme", as_="beta")
        await asynchronous.close()

    portal.call(run)
    assert read(tenancy, "beta") == read(tenancy, "acme")
