"""A revision does in common tables, for each tenant, what it does in a schema of one tenant."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, text

from tenantkit import MigrationError, Tenancy, migrations
from tests.isolation.row.conftest import make_owner
from tests.migrations.environments import Environment
from tests.support.generated import examples

TABLES = """
account = sa.table("account", sa.column("id"), sa.column("name"), sa.column("kind", sa.Enum("a", "b", name="kind", schema="tenant")), schema="tenant")
invoice = sa.table("invoice", sa.column("id"), sa.column("amount"), sa.column("account_id"), schema="tenant")
bind = op.get_bind()
"""

STEPS: Mapping[str, str] = {
    "rows for everybody": 'op.bulk_insert(account, [{"name": "all"}, {"name": "each", "kind": "b"}])',
    "text for everybody": "op.execute(\"INSERT INTO account (name) VALUES ('text'); UPDATE account SET kind = 'a'\")",
    "a key for everybody": 'op.bulk_insert(account, [{"id": 100, "name": "fixed"}])',
    "read": """
for row in bind.execute(sa.select(account.c.id, account.c.name).order_by(account.c.id)).all():
    bind.execute(account.update().where(account.c.id == row.id).values(name=row.name.upper()))
""",
    "read text": """
total = bind.execute(sa.text("SELECT coalesce(sum(amount), 0) FROM invoice")).scalar_one()
op.execute(f"INSERT INTO account (name) VALUES ('total {total}')")
""",
    "driver SQL": """
names = bind.exec_driver_sql("SELECT name FROM account ORDER BY id").scalars().all()
bind.exec_driver_sql("UPDATE account SET name = name || %s", (f" of {len(names)}",))
""",
    "raw cursor": """
with bind.connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM invoice")
    (number,) = cursor.fetchone()
    cursor.execute("INSERT INTO account (name) VALUES (%s)", (f"{number} invoices",))
""",
    "RETURNING": """
gone = op.get_bind().execute(invoice.delete().where(invoice.c.amount > 20).returning(invoice.c.amount)).scalars().all()
if gone:
    op.bulk_insert(account, [{"name": f"lost {sum(gone)}"}])
""",
    "a branch": """
if bind.scalar(sa.select(sa.func.count()).select_from(invoice)) > 1:
    op.execute(account.update().values(kind="b"))
else:
    op.execute(sa.text("DELETE FROM invoice"))
""",
    "ORM": """
from sqlalchemy.orm import Session, declarative_base
class Account(declarative_base(metadata=sa.MetaData(schema="tenant"))):
    __tablename__ = "account"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String)
with Session(bind=bind) as session:
    for each in session.scalars(sa.select(Account)):
        each.name = each.name[::-1]
    session.add(Account(name="by the ORM"))
    session.commit()
""",
    "tables between": """
op.add_column("invoice", sa.Column("owner", sa.String), schema="tenant")
for number, name in bind.execute(sa.text("SELECT id, name FROM account")).all():
    bind.execute(sa.text("UPDATE invoice SET owner = :name WHERE account_id = :id"), {"id": number, "name": name})
op.execute("UPDATE invoice SET owner = 'unknown' WHERE owner IS NULL")
op.alter_column("invoice", "owner", nullable=False, schema="tenant")
op.create_index("ix_owner", "invoice", ["owner", sa.text("amount DESC")], schema="tenant")
op.execute("INSERT INTO account (name) SELECT 'owner ' || owner FROM invoice GROUP BY owner")
""",
    "a new table": """
op.create_table("summary", sa.Column("id", sa.Integer, primary_key=True), sa.Column("number", sa.Integer, unique=True),
    sa.Column("state", sa.Enum("x", "y", name="state", schema="tenant")), schema="tenant")
summary = sa.table("summary", sa.column("number"), schema="tenant")
op.bulk_insert(summary, [{"number": bind.scalar(sa.select(sa.func.count()).select_from(account))}])
if not sa.inspect(bind).has_table("more", schema="tenant"):
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True), schema="tenant")
op.execute("INSERT INTO account (name) SELECT 'number ' || number FROM summary")
op.drop_table("summary", schema="tenant")
op.drop_table("more", schema="tenant")
op.execute("DROP TYPE state")
""",
    "DO": """
op.execute("DO $$ BEGIN IF (SELECT count(*) FROM invoice) > 1 THEN UPDATE account SET kind = 'a'; END IF; END $$")
""",
    "a savepoint": """
with bind.begin_nested():
    [first] = bind.execute(sa.text("SELECT min(amount) FROM invoice")).scalars()
    bind.execute(sa.text("INSERT INTO account (name) VALUES (:name)"), {"name": f"least {first}"})
with bind.begin_nested() as savepoint:
    bind.execute(sa.text("DELETE FROM account"))
    savepoint.rollback()
""",
    "an error that is caught": """
try:
    number = bind.scalar(sa.text("SELECT count(*) FROM account"))
except Exception:
    number = -1
op.execute(f"INSERT INTO account (name) VALUES ('counted {number}')")
""",
    "an error that is caught within a savepoint": """
try:
    with bind.begin_nested():
        number = bind.scalar(sa.text("SELECT count(*) FROM account"))
except Exception:
    number = -1
op.execute(f"INSERT INTO account (name) VALUES ('counted {number}')")
""",
    "a CTE": """
op.execute('''WITH moved AS (DELETE FROM invoice WHERE amount = 1 RETURNING amount)
    INSERT INTO account (name) SELECT 'moved ' || amount FROM moved''')
""",
    "a sub-select": """
op.execute(invoice.update().values(amount=sa.select(sa.func.count(account.c.id)).scalar_subquery() + invoice.c.amount))
""",
    "text without a path": "op.execute('UPDATE account SET kind = NULL')",
}

REPEATABLE = {"a branch", "a new table", "a sub-select", "DO", "RETURNING", "driver SQL", "read", "text without a path"}
"""Steps that can be taken several times."""

CONTENTS = """
SELECT name, kind::text, (SELECT array_agg(amount ORDER BY amount) FROM {schema}.invoice WHERE account_id = a.id {own})
FROM {schema}.account AS a {where} ORDER BY name
"""

SEEDS: tuple[Mapping[str, list[int]], ...] = ({"alpha": [1, 2]}, {"beta": [30], "gamma": []}, {})
"""The accounts of each tenant, with the amounts of their invoices."""


@pytest.fixture
def fleet(url: URL, environment: Environment) -> Generator[Tenancy]:
    """Tenants in common tables, and with schemas, with the same rows."""
    with closing(make_owner(url, migrations=environment.folder)) as tenancy:
        migrations.migrate(tenancy)
        for number, accounts in enumerate(SEEDS):
            for kind in ("row", "schema"):

                def fill(session: Any, accounts: Mapping[str, list[int]] = accounts) -> None:
                    for key, (name, amounts) in enumerate(accounts.items(), 1):
                        session.execute(
                            text("INSERT INTO account (id, name) VALUES (:key, :name)"), {"key": key, "name": name}
                        )
                        for amount in amounts:
                            session.execute(
                                text(f"INSERT INTO invoice (id, amount, account_id) VALUES ({amount}, {amount}, {key})")
                            )

                tenancy.create(f"{kind}{number}", isolation=kind, seed=fill)
        with tenancy.engine.begin() as connection:  # so that numbers and the keys above do not meet
            for schema in ("rows", *(f"t_schema{number}" for number in range(len(SEEDS)))):
                for table in ("account", "invoice"):
                    connection.exec_driver_sql(f"ALTER SEQUENCE {schema}.{table}_id_seq RESTART 1000")
        yield tenancy


def contents(engine: Engine, tenancy: Tenancy, key: str) -> list[Any]:
    tenant = tenancy.get(key)
    own, where = ("AND tenant_id = {0}", "WHERE tenant_id = {0}") if tenant.schema == "rows" else ("", "")
    query = CONTENTS.format(schema=tenant.schema, own=own.format(tenant.id), where=where.format(tenant.id))
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def require_alike(engine: Engine, tenancy: Tenancy, folder: Path) -> None:
    for number in range(len(SEEDS)):
        assert contents(engine, tenancy, f"row{number}") == contents(engine, tenancy, f"schema{number}"), number
    with closing(make_owner(tenancy.engine.url, migrations=folder)) as released:
        for kind in ("row", "schema"):
            released.create(f"late_{kind}", isolation=kind)
    assert contents(engine, tenancy, "late_row") == contents(engine, tenancy, "late_schema")
    assert tenancy.diagnose() == []


@pytest.mark.some_values(step=7)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_does_for_each_tenant_what_it_does_in_a_schema(
    fleet: Tenancy, environment: Environment, engine: Engine, step: str
) -> None:
    environment.add("r2", TABLES + step)
    migrations.migrate(fleet)
    require_alike(engine, fleet, environment.folder)


@pytest.mark.all_cases
@examples(3, 25, suppress_health_check=[*HealthCheck])
@given(steps=st.lists(st.sampled_from(sorted(REPEATABLE)), min_size=2, max_size=5))
def test_so_do_several_steps_in_any_order(
    fleet: Tenancy, environment: Environment, engine: Engine, steps: list[str]
) -> None:
    name = f"r{len(list(environment.folder.glob('tenant/*.py'))) + 1}"
    environment.add(name, TABLES + "\n".join(STEPS[step] for step in steps))
    migrations.migrate(fleet)
    for number in range(len(SEEDS)):
        assert contents(engine, fleet, f"row{number}") == contents(engine, fleet, f"schema{number}")


REFUSED: Mapping[str, tuple[str, str]] = {
    "tables by rows": (
        """
if bind.scalar(sa.text("SELECT count(*) FROM invoice")):
    op.create_index("ix", "account", ["kind"], schema="tenant")
""",
        "something else to the tables for one tenant than for another: nothing more for '0', 'CREATE INDEX ix ",
    ),
    "names by rows": (
        'op.create_index(f"ix{bind.scalar(sa.text("SELECT count(*) FROM invoice"))}", "account", ["kind"], schema="tenant")'.replace(
            '"SELECT count(*) FROM invoice"', "'SELECT count(*) FROM invoice'"
        ),
        "something else to the tables",
    ),
    "a block before": (
        """
op.create_index_concurrently("ix", "invoice", ["amount"], schema="tenant")
bind.execute(sa.text("SELECT count(*) FROM invoice"))
""",
        "reads rows, and leaves its transaction. Make two revisions of it",
    ),
    "a block after": (
        """
bind.execute(sa.text("SELECT count(*) FROM invoice"))
op.create_index_concurrently("ix", "invoice", ["amount"], schema="tenant")
""",
        "reads rows, and leaves its transaction. Make two revisions of it",
    ),
    "a sequence": (
        "op.execute(\"SELECT setval('account_id_seq', (SELECT max(id) FROM account))\")",
        "sets a sequence from rows: all tenants share it",
    ),
    "tables in a savepoint": (
        """
bind.execute(sa.text("SELECT count(*) FROM invoice"))
with bind.begin_nested():
    op.create_index("ix", "account", ["kind"], schema="tenant")
""",
        "changes tables within a savepoint",
    ),
    "rows and tables in one text": (
        """
bind.execute(sa.text("SELECT count(*) FROM invoice"))
op.execute("UPDATE account SET kind = 'a'; ALTER TABLE account ADD more int")
""",
        "changes rows and tables in one text",
    ),
    "a row that a trigger has seen": (
        """
op.execute("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
op.execute("CREATE TRIGGER nothing AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION nothing()")
op.bulk_insert(account, [{"name": "all"}])
""",
        "cannot copy for tenants that are created later: it has a trigger. Let seed= write such rows",
    ),
    "a temporary table": (
        """
op.execute("CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT 1 AS id, 5 AS number")
op.execute("UPDATE invoice SET amount = number FROM mine WHERE mine.id = invoice.id")
op.execute("DROP TABLE mine")
""",
        r"makes a temporary table \(mine\), which no policy divides. Use WITH instead",
    ),
    "a table without a policy": (
        """
op.execute("CREATE TABLE mine (id int, number int)")
op.execute("INSERT INTO mine SELECT id, amount FROM invoice")
op.execute("UPDATE invoice SET amount = number FROM mine WHERE mine.id = invoice.id")
op.execute("DROP TABLE mine")
""",
        "the table 'mine' of the schema 'rows' lacks the tenant column",
    ),
    "a table without a policy, read": (
        """
op.execute("CREATE TABLE mine (id int, number int)")
bind.execute(sa.text("SELECT * FROM mine")).all()
op.execute("DROP TABLE mine")
""",
        "the table 'mine' of the schema 'rows' lacks the tenant column",
    ),
    "rows of all tenants": (
        """
op.execute("ALTER TABLE invoice NO FORCE ROW LEVEL SECURITY")
op.execute("UPDATE invoice SET amount = amount + 1")
op.execute("ALTER TABLE invoice FORCE ROW LEVEL SECURITY")
""",
        "the table 'invoice' of the schema 'rows' does not have row security enabled and forced",
    ),
    "rows of all tenants, in a table that a DO opens": (
        """
op.execute("DO $$ BEGIN ALTER TABLE invoice NO FORCE ROW LEVEL SECURITY; END $$")
op.execute("UPDATE invoice SET amount = amount + 1")
op.execute("ALTER TABLE invoice FORCE ROW LEVEL SECURITY")
""",
        "the table 'invoice' of the schema 'rows' does not have row security enabled and forced",
    ),
    "an error of its own": (
        """
if bind.scalar(sa.text("SELECT count(*) FROM invoice")) == 1:
    raise ValueError("this tenant has one invoice")
""",
        r"ValueError: this tenant has one invoice \(revision r2, .*r2.py, line \d+\)",
    ),
}


@pytest.mark.some_values(what=5)
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_for_each_tenant_is_refused_and_nothing_is_done(
    fleet: Tenancy, environment: Environment, engine: Engine, what: str
) -> None:
    step, problem = REFUSED[what]
    keys = [f"row{number}" for number in range(len(SEEDS))]
    before = [contents(engine, fleet, key) for key in keys]
    environment.add("r2", TABLES + step)
    with pytest.raises(MigrationError) as failed:
        migrations.migrate(fleet, tenants=keys)
    assert re.search(problem, str(failed.value))
    assert [contents(engine, fleet, key) for key in keys] == before
    assert fleet.at_revision("row0", "r1")
    assert not fleet.at_revision("row0", "r2")
