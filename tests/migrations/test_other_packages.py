"""Operations of other packages, whose SQL has the placeholder, work in the tenant's schema."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from tenantkit import MigrationError, Tenancy
from tenantkit.migrations import migrate
from tests.migrations.environments import Environment
from tests.migrations.shapes import shape

Make = Callable[..., Tenancy]

PACKAGE = """
from dataclasses import dataclass
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import text

@Operations.register_operation("add_label")
class AddLabel(MigrateOperation):
    @classmethod
    def add_label(cls, operations, schema, name, label):  # as in alembic-postgresql-enum
        operations.get_bind().execute(text(f'ALTER TYPE "{schema}"."{name}" ADD VALUE \\'{label}\\''))

@dataclass(frozen=True)
class Reference:
    table_schema: str
    table_name: str

@Operations.register_operation("sync_labels")
class SyncLabels(MigrateOperation):
    @classmethod
    def sync_labels(cls, operations, enum_schema, name, labels, references):  # as in alembic-postgresql-enum
        connection = operations.get_bind()
        query = "SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE (nspname, relname) = (:s, :t)"
        for each in references:
            connection.execute(text(query), {"s": each.table_schema, "t": each.table_name}).one()
        query = "SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = :s AND typname = :n"
        name = connection.execute(text(query), {"s": enum_schema, "n": name}).scalar_one()
        for label in labels:
            connection.execute(text(f"ALTER TYPE {name} ADD VALUE '{label}'"))

@Operations.register_operation("create_thing", "invoke_for")
class CreateThing(MigrateOperation):  # as in alembic_utils
    def __init__(self, sql):
        self.sql = sql

    @classmethod
    def invoke_for(cls, operations, sql):
        operations.invoke(cls(sql))

@Operations.implementation_for(CreateThing)
def create_thing(operations, operation):
    operations.execute(text(operation.sql))

@Operations.register_operation("send")
class Send(MigrateOperation):
    @classmethod
    def send(cls, operations, sql):
        operations.get_bind().exec_driver_sql(sql)
"""
ENV = """
import sys
sys.path.insert(0, {folder!r})
import own_operations
from tenantkit.migrations import run_environment
run_environment()
"""
BEFORE = """
op.execute("CREATE TABLE note (id int, text text)")
op.execute("CREATE TYPE kind AS ENUM ('a')")
op.execute("CREATE SEQUENCE numbers")
"""
OPERATIONS = {
    "an argument": """op.add_label("{S}", "kind", "{S}")""",
    "arguments that are parameters of queries": """
        from own_operations import Reference
        op.sync_labels(enum_schema="{S}", name="kind", labels=["{S}"], references=[Reference("{S}", "note")])
    """,
    "a function": """
        body = "$$ SELECT count(*) FROM {S}.note $$"
        op.create_thing("CREATE FUNCTION {S}.f() RETURNS bigint LANGUAGE sql AS " + body)
    """,
    "a trigger": """
        op.create_thing('CREATE FUNCTION "{S}".g() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$')
        op.create_thing("CREATE TRIGGER t BEFORE INSERT ON {S}.note FOR EACH ROW EXECUTE FUNCTION {S}.g()")
    """,
    "an operator": """
        op.create_thing("CREATE FUNCTION {S}.same({S}.kind, int) RETURNS bool LANGUAGE sql RETURN true")
        op.send('CREATE OPERATOR "{S}".=== (leftarg = "{S}".kind, rightarg = int, procedure = {S}.same)')
    """,
    "a view": """op.create_thing("CREATE VIEW {S}.v AS SELECT note.id, nextval('{S}.numbers') FROM {S}.note")""",
    "the driver": """op.send("ALTER TABLE {S}.note ADD COLUMN driver int")""",
    "an operation invoked": """
        from own_operations import CreateThing
        from alembic.op import invoke
        invoke(CreateThing("ALTER TABLE {S}.note ADD COLUMN invoked int"))
    """,
    "words": """op.create_thing("COMMENT ON TABLE {S}.note IS '{S}, sub_{S}.x and 5%'")""",
}
WITH_WORDS = {"an argument", "arguments that are parameters of queries", "words"}
"""Operations that write the placeholder, as a word, into the tenant's schema."""
TEXTS = {
    "in a revision": 'op.execute("ALTER TABLE tenant.note ADD COLUMN x int")',
    "after the operation": """
        op.send("SELECT 1")
        op.execute("ALTER TABLE tenant.note ADD COLUMN x int")
    """,
    "an alias": 'op.send("CREATE VIEW tenant.v AS SELECT tenant.id FROM tenant.note tenant")',
}


@pytest.fixture
def own(environment: Environment) -> Environment:
    folder = environment.folder.parent
    (folder / "own_operations.py").write_text(PACKAGE)
    (environment.folder / "env.py").write_text(ENV.format(folder=str(folder)))
    return environment


@pytest.fixture(autouse=True)
def forget_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_operations", raising=False)


@pytest.mark.some_values(operation=8)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("placeholder", ["tenant", None])
def test_the_placeholder_in_their_text_means_the_tenants_schema(
    operation: str, placeholder: str | None, own: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    written = OPERATIONS[operation].replace("{S}", placeholder or "tenantkit_autogenerate")
    own.add("one", BEFORE)
    tenancy = migrated_tenancy() if placeholder else no_schema(migrated_tenancy)
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
    own.add("two", written)
    tenancy = migrated_tenancy() if placeholder else no_schema(migrated_tenancy)
    migrate(tenancy, jobs=0)
    tenancy.create("new")
    with engine.begin() as connection:
        shapes = [look(connection, f"t_{key}") for key in ("acme", "beta", "gamma", "new")]
        assert shapes[1:] == shapes[:-1]
        connection.exec_driver_sql("SET LOCAL search_path = t_plain")
        connection.exec_driver_sql("CREATE SCHEMA t_plain")
        connection.exec_driver_sql(re.sub(r'op.execute\("(.*)"\)', r"\1;", BEFORE))
        before = shape(connection, "t_plain")
    gained = set(shapes[0]) - set(before)
    assert [line for line in gained if "alembic_version" not in line]
    names = {*re.findall(r"\b(?:TK_|tenant|tenantkit_autogenerate)\b", " ".join(shapes[0]))}
    assert names <= ({"tenant", "tenantkit_autogenerate"} if operation in WITH_WORDS else set())


def look(connection: Connection, schema: str) -> list[str]:
    return [line.replace(f'"{schema}".', "~.") for line in shape(connection, schema)]


def no_schema(make: Make) -> Tenancy:
    metadata = sa.MetaData()
    sa.Table("note", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return make(tenant=metadata, shared=sa.MetaData(schema="shared"), placeholder=None)


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_is_taken_literally_and_fails(text: str, own: Environment, migrated_tenancy: Make) -> None:
    own.add("one", BEFORE)
    migrated_tenancy().create("acme")
    own.add("two", TEXTS[text])
    with pytest.raises(MigrationError, match=r"schema \"tenant\" does not exist|missing FROM-clause|tenant.note"):
        migrate(migrated_tenancy(), jobs=0)
