"""What happens to tenants is recorded by the transactions that change them, and outlives the tenants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, Column, Engine, Integer, MetaData, Table, Text, text
from sqlalchemy.exc import ProgrammingError

from tenantkit import MigrationError, ProvisioningError, Tenancy, adoption, lifecycle, migrations, transfer
from tenantkit.spares import keep_spares
from tenantkit.usage import Event, HistoryEntry, describe
from tests.migrations.environments import Environment
from tests.support.copies import Databases


def run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def events(tenancy: Tenancy, key: str) -> list[str]:
    return [entry.event for entry in describe(tenancy, key).history]


def last(tenancy: Tenancy, key: str) -> HistoryEntry:
    return describe(tenancy, key).history[-1]


@pytest.fixture
def fleet(make_tenancy: Callable[..., Tenancy], environment: Environment) -> Tenancy:
    environment.add("t1", 'op.create_table("note", sa.Column("id", sa.Integer), schema="tenant")')
    metadata = MetaData(schema="tenant")
    Table("note", metadata, Column("id", Integer), Column("extra", Text))
    return make_tenancy(shared=None, tenant=metadata, migrations=environment.folder)


def fail(_: object) -> None:
    raise RuntimeError("hunter2")


def test_a_whole_life_is_recorded(fleet: Tenancy, engine: Engine, environment: Environment, tmp_path: Path) -> None:
    with pytest.raises(ProvisioningError):
        fleet.create("acme", seed=fail)
    assert last(fleet, "acme").details == {
        "status": "failed",
        "from": "provisioning",
        "error": "seeding: RuntimeError",
    }
    tenant = fleet.create("acme")
    assert last(fleet, "acme").details["schema"] == "t_acme"
    fleet.suspend("acme")
    fleet.suspend("acme")
    fleet.suspend("acme", read_only=True, message="Moving")
    assert last(fleet, "acme").details == {"status": "read_only", "from": "suspended", "message": "Moving"}
    fleet.resume("acme")
    environment.add("t2", 'op.add_column("note", sa.Column("extra", sa.Text), schema="tenant")')
    migrations.migrate(fleet, maintenance=True, jobs=0)
    assert events(fleet, "acme")[-3:] == ["maintenance", "migrated", "resumed"]
    assert describe(fleet, "acme").history[-2].details == {"run": 1, "from": "t1", "to": "t2"}
    assert last(fleet, "acme").details["run"] == "1"
    migrations.migrate(fleet, maintenance=True)  # nothing to do
    migrations.downgrade(fleet, "-1", jobs=0)
    migrations.stamp(fleet, "t2")
    for name in ("one", "two"):
        transfer.backup(fleet, "acme", tmp_path / f"{name}.tenant")
    assert last(fleet, "acme").details["file"] == "two.tenant"
    transfer.export(fleet, "acme", tmp_path / "out")
    lifecycle.rename(fleet, "acme", "globex", schema=True)
    assert last(fleet, "globex").details.items() >= {"from_key": "acme", "from_schema": "t_acme"}.items()
    fleet.create("copy")
    migrations.migrate(fleet, tenants=["copy"])
    fleet.suspend("copy")
    lifecycle.swap(fleet, "globex", "copy", any_tenant=True)
    assert last(fleet, "globex").details.items() >= {"with": "copy", "from_schema": "t_globex"}.items()
    fleet.drop("copy")
    fleet.drop("globex", after=timedelta(days=30))
    lifecycle.cancel_drop(fleet, "globex")
    fleet.drop("globex", after=timedelta(days=30))
    fleet.drop("globex")
    transfer.restore(fleet, tmp_path / "one.tenant", key="beta")
    assert last(fleet, "beta").details.items() >= {"file": "one.tenant", "key": "acme"}.items()
    transfer.clone(fleet, "beta", as_="twin")
    assert last(fleet, "twin").details["key"] == "beta"
    fleet.drop("twin")
    adoption.release(fleet, "beta")
    adoption.adopt(fleet, "t_bet%", key_from="t_(.*)")
    run(engine, "UPDATE tenantkit.tenants SET database = 'eu'")
    assert last(fleet, "beta").details.items() >= {"from_database": "main", "database": "eu"}.items()

    found = describe(fleet, "globex")
    assert found.tenant is None
    assert [entry.event for entry in found.history] == events(fleet, "acme")
    assert [entry.event for entry in found.history] == [
        *("claimed", "failed", "claimed", "created", "suspended", "read_only", "resumed", "maintenance", "migrated"),
        *(
            "resumed",
            "downgraded",
            "stamped",
            "backed_up",
            "exported",
            "renamed",
            "swapped",
            "drop_scheduled",
            "drop_cancelled",
            "drop_scheduled",
        ),
        *("dropping", "dropped"),
    ]
    assert {entry.tenant_id for entry in found.history} == {tenant.id}
    assert events(fleet, "beta") == ["claimed", "created", "restored", "released", "adopted", "moved"]
    assert {*events(fleet, "globex"), *events(fleet, "beta"), *events(fleet, "twin")} == {*Event}
    assert "hunter2" not in repr(found)


def test_what_changes_nothing_and_what_is_rolled_back_is_not_recorded(
    fleet: Tenancy, engine: Engine, environment: Environment
) -> None:
    fleet.create("acme", domains=["acme.test"])
    environment.add("t2", 'op.execute("SELECT 1")')
    migrations.migrate(fleet)
    before = describe(fleet, "acme").history
    fleet.update("acme", name="Acme", attributes={"token": "hunter2"})
    fleet.add_domain("acme", "other.test")
    fleet.resume("acme")
    lifecycle.cancel_drop(fleet, "acme")
    for _ in range(2):
        migrations.migrate(fleet)
    environment.add("t3", 'op.execute("SELECT 1 / 0")')
    with pytest.raises(MigrationError):
        migrations.migrate(fleet, jobs=0)
    with engine.connect() as connection:
        connection.execute(text("UPDATE tenantkit.tenants SET status = 'suspended'"))
        connection.rollback()
    assert describe(fleet, "acme").history == before


def test_spares_have_no_history_before_they_are_tenants(fleet: Tenancy, engine: Engine) -> None:
    fleet.create("first")  # the second one of its kind confirms the script
    fleet.create("second")
    keep_spares(fleet, 2)
    with engine.connect() as connection:
        keys = connection.execute(text("SELECT DISTINCT key FROM tenantkit.history ORDER BY key")).scalars().all()
        spare = connection.execute(text("SELECT id FROM tenantkit.tenants WHERE status = 'spare' ORDER BY id")).scalar()
    assert keys == ["first", "second"]
    assert fleet.create("acme").id == spare
    [entry] = describe(fleet, "acme").history
    assert (entry.event, entry.details["from"], entry.details["schema"]) == ("created", "spare", "t_acme")
    keep_spares(fleet, 0)
    assert events(fleet, "acme") == ["created"]


def test_a_role_that_may_change_tenants_is_recorded_and_cannot_write_history(
    tenancy: Tenancy, engine: Engine, database: URL, databases: Databases, make_tenancy: Callable[..., Tenancy]
) -> None:
    tenancy.create("acme")
    role = databases.make_role()
    run(
        engine,
        f"GRANT USAGE ON SCHEMA tenantkit TO {role}",
        f"GRANT SELECT, UPDATE ON tenantkit.tenants TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA tenantkit TO {role}",
    )
    make_tenancy(database=database.set(username=role)).suspend("acme")
    entry = last(tenancy, "acme")
    assert (entry.event, entry.role) == ("suspended", role)
    with engine.connect() as connection:
        may = "SELECT bool_or(has_table_privilege(%s, 'tenantkit.history', each)) FROM unnest(%s::text[]) AS each"
        privileges = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
        assert not connection.exec_driver_sql(may, (role, privileges)).scalar_one()
        forged = "CREATE TEMP TABLE t (key text); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION tenantkit."
        for function in ("record_change()", "record_migration()"):
            with pytest.raises(ProgrammingError, match="permission denied for function"):
                connection.exec_driver_sql(f"SET LOCAL ROLE {role}; {forged}{function}")
            connection.rollback()


def test_a_role_that_cannot_write_history_backs_up_and_restores(
    tenancy: Tenancy,
    engine: Engine,
    database: URL,
    databases: Databases,
    make_tenancy: Callable[..., Tenancy],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    role = databases.make_role()
    run(
        engine,
        f'GRANT CREATE ON DATABASE "{database.database}" TO {role}',
        f"GRANT USAGE ON SCHEMA tenantkit, shared TO {role}",
        f"GRANT SELECT, REFERENCES ON ALL TABLES IN SCHEMA shared TO {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {role}",
        f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON tenantkit.history FROM {role}",
    )
    operator = make_tenancy(database=database.set(username=role))
    operator.create("acme")
    transfer.backup(operator, "acme", tmp_path / "acme.tenant")
    transfer.restore(operator, tmp_path / "acme.tenant", key="copy")
    assert (events(tenancy, "acme"), events(tenancy, "copy")) == (["claimed", "created"],) * 2
    assert [each.split(":")[0] for each in caplog.messages if "history" in each] == [
        "The backup of tenant 'acme' is not in its history",
        "The origin of tenant 'copy' is not in its history",
    ]


def test_changes_by_sql_are_recorded(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create("acme")
    run(engine, "UPDATE tenantkit.tenants SET status = 'suspended'", "DELETE FROM tenantkit.tenants")
    assert events(tenancy, "acme") == ["claimed", "created", "suspended", "released"]
    run(
        engine,
        "INSERT INTO tenantkit.tenants (key, name, status, schema) VALUES ('byhand', 'x', 'active', 't_byhand')",
    )
    assert events(tenancy, "byhand") == ["created"]


def test_a_key_of_two_tenants_has_the_history_of_both(tenancy: Tenancy) -> None:
    first = tenancy.create("acme")
    tenancy.drop("acme")
    second = tenancy.create("acme")
    found = describe(tenancy, "acme")
    assert found.tenant == second
    assert [(entry.tenant_id, entry.event) for entry in found.history] == [
        *((first.id, event) for event in ("claimed", "created", "dropping", "dropped")),
        *((second.id, event) for event in ("claimed", "created")),
    ]
