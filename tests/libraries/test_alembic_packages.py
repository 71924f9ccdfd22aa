"""alembic-postgresql-enum and alembic_utils: their revisions are applied to every tenant, and downgraded."""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import URL, Engine, create_engine

from tests.cli.project import Project
from tests.migrations.shapes import shape

pytestmark = pytest.mark.skipif(
    find_spec("alembic_postgresql_enum") is None or find_spec("alembic_utils") is None,
    reason="'make test-libraries' installs alembic-postgresql-enum and alembic_utils",
)
# They register comparators for the whole process, so only commands import them.

TENANTS = ("acme", "globex", "initech")
APPLICATION = """
import os
from sqlalchemy import *
from sqlalchemy.dialects import postgresql
from tenantkit import Tenancy

TENANT = {tenant!r}
shared, tenant = MetaData(schema="shared"), MetaData(schema=TENANT)
metadata = {line}
Table("country", shared, Column("code", Text, primary_key=True))
Table("note", tenant, Column("id", Integer, primary_key=True), Column("text", Text))
{models}

def make_tenancy():
    return Tenancy(
        os.environ["DATABASE_URL"], shared=shared, tenant=tenant, placeholder=TENANT, migrations="migrations"
    )
"""
ENV = """
{code}
from tenantkit.migrations import run_environment
run_environment({options})
"""


class Shop(Project):
    """A project whose models a test changes in steps."""

    line = "tenant"
    tenant: str | None = "tenant"

    def declare(self, models: str) -> None:
        text = APPLICATION.format(tenant=self.tenant, line=self.line, models=dedent(models))
        self.write("shop/app.py", text)

    def environment(self, code: str, options: str = "") -> None:
        self.write("migrations/env.py", ENV.format(code=dedent(code), options=options))

    def revise(self, message: str) -> str | None:
        """Autogenerate and apply a revision, check that a second one is empty, and return the first."""
        options = ["--shared"] if self.line == "shared" else []
        done = self.run("revision", "-m", message, "--autogenerate", *options)
        assert done.code == 0, done.err
        text = Path(done.out.strip()).read_text() if done.out else None
        self.migrate("migrate")
        again = self.run("revision", "-m", "again", "--autogenerate", *options)
        assert again.code == 0, again.err
        assert again.out == "", Path(again.out.strip()).read_text()
        return text

    def migrate(self, *arguments: str) -> None:
        done = self.run(*arguments)
        assert done.code == 0, done.err


@pytest.fixture
def shop(tmp_path: Path, empty_database: URL, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("DATABASE_URL", empty_database.render_as_string(hide_password=False))
    monkeypatch.chdir(tmp_path)
    shop = Shop(tmp_path)
    for file in tmp_path.glob("migrations/*/*.py"):
        file.unlink()
    return shop


@pytest.fixture
def engine(empty_database: URL) -> Generator[Engine]:
    engine = create_engine(empty_database)
    yield engine
    engine.dispose()


def look(engine: Engine, schema: str) -> list[str]:
    with engine.begin() as connection:
        lines = [line.replace(f'"{schema}".', "~.") for line in shape(connection, schema)]
    return [line for line in lines if "alembic_version" not in line]


def start(shop: Shop, models: str) -> None:
    shop.declare(models)
    for options in (["--shared"], []):
        done = shop.run("revision", "-m", "first", "--autogenerate", *options)
        assert done.code == 0, done.err
        shop.migrate("migrate", *(["--shared-only"] if options else []))
    for key in TENANTS:
        shop.migrate("create", key)


TASK = """
level = Enum({labels}, name="level", metadata=metadata)
Table(
    "task", metadata,
    Column("id", Integer, primary_key=True),
    Column("level", level, server_default="low", index=True),
    Column("levels", ARRAY(level), server_default=text("'{{low}}'")),
)
"""


@pytest.mark.parametrize(
    ("line", "tenant"), [("tenant", "tenant"), ("tenant", None), ("shared", "tenant")], ids=["tenant", "none", "shared"]
)
def test_enums_of_alembic_postgresql_enum_are_changed_and_downgraded(
    line: str, tenant: str | None, shop: Shop, engine: Engine
) -> None:
    shop.line, shop.tenant = line, tenant
    shop.environment("import alembic_postgresql_enum")
    start(shop, TASK.format(labels="'low', 'high'"))
    schemas = ["shared"] if line == "shared" else [f"t_{key}" for key in TENANTS]
    seen = [look(engine, schemas[0])]
    assert "enum level low,high" in seen[0]

    shop.declare(TASK.format(labels="'low', 'high', 'urgent'"))
    text = shop.revise("added")
    assert text is not None
    assert "op.add_enum_value(" in text
    seen.append(look(engine, schemas[0]))
    assert "enum level low,high,urgent" in seen[1]

    shop.declare(TASK.format(labels="'low', 'urgent'"))
    text = shop.revise("removed")
    assert text is not None
    assert "op.sync_enum_values(" in text
    seen.append(look(engine, schemas[0]))
    assert "enum level low,urgent" in seen[2]

    more = """
    tenant.tables["tenant.note" if TENANT else "note"].append_column(Column("kind", Enum("a", "b", name="kind", schema=TENANT)))
    """
    shop.declare(TASK.format(labels="'low', 'urgent'") + dedent(more))
    shop.line = "tenant"
    text = shop.revise("new")
    assert text is not None
    assert "DROP TYPE" not in text
    tenants = [f"t_{key}" for key in TENANTS]
    new = look(engine, tenants[0])
    assert "enum kind a,b" in new
    for schema in tenants[1:]:
        assert look(engine, schema) == new
    shop.migrate("downgrade", "-1", "--yes")
    assert "enum kind a,b" not in look(engine, tenants[0])
    shop.migrate("migrate")
    assert look(engine, tenants[0]) == new

    if line == "tenant":
        for before in reversed(seen[:-1] + seen[-1:]):
            shop.migrate("downgrade", "-1", "--yes")
            for schema in schemas:
                assert look(engine, schema) == before
            if before is seen[0]:
                break
        shop.migrate("migrate")
        for schema in schemas:
            assert look(engine, schema) == new
    shop.migrate("create", "umbrella")
    assert look(engine, "t_umbrella") == new


ENTITIES = """
from alembic_utils.pg_function import PGFunction
from alembic_utils.pg_trigger import PGTrigger
from alembic_utils.pg_view import PGView
from alembic_utils.replaceable_entity import register_entities

count_notes = PGFunction(
    schema="{schema}", signature="count_notes(lowest integer)",
    definition='''RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) {more} FROM {schema}.note WHERE id >= lowest $$''',
)
touch = PGFunction(
    schema="{schema}", signature="touch()",
    definition="RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.text := 'it''s : 5% {more}'; RETURN NEW; END $$",
)
touched = PGTrigger(
    schema="{schema}", signature="touched", on_entity="{schema}.note",
    definition="BEFORE INSERT ON {schema}.note FOR EACH ROW EXECUTE FUNCTION {schema}.touch()",
)
notes = PGView(schema="{schema}", signature="notes", definition="SELECT id, text {column} FROM {schema}.note")
register_entities([{entities}])
"""


@pytest.mark.parametrize("line", ["tenant", "shared"])
def test_entities_of_alembic_utils_are_created_changed_and_dropped(line: str, shop: Shop, engine: Engine) -> None:
    shop.line = line
    models = 'Table("note", shared, Column("id", Integer, primary_key=True), Column("text", Text))\n'
    start(shop, models if line == "shared" else "")
    schemas = ["shared"] if line == "shared" else [f"t_{key}" for key in TENANTS]
    seen = [look(engine, schemas[0])]

    def entities(names: str, more: str = "", column: str = "") -> None:
        shop.environment(ENTITIES.format(schema=line, entities=names, more=more, column=column))

    entities("count_notes, touch, touched, notes")
    text = shop.revise("new")
    assert text is not None
    assert text.count("op.create_entity(") == 4
    assert "tenantkit" not in text
    seen.append(look(engine, schemas[0]))
    assert not any("tenant." in line for line in seen[1])

    entities("count_notes, touch, touched, notes", more="+ 1", column=", id AS again")
    text = shop.revise("changed")
    assert text is not None
    assert text.count("op.replace_entity(") == 6
    seen.append(look(engine, schemas[0]))

    # In two steps: alembic_utils drops functions and triggers in any order.
    for names, dropped in (("count_notes, touch", 2), ("count_notes", 1)):
        entities(names)
        text = shop.revise(f"fewer by {dropped}")
        assert text is not None
        assert text.count("op.drop_entity(") == dropped
        assert 'phase: str | None = "contract"' in text
        seen.append(look(engine, schemas[0]))

    for _ in range(2):
        for schema in schemas:
            assert look(engine, schema) == seen[-1]
        if line == "shared":
            break
        for before in seen[-2::-1]:
            shop.migrate("downgrade", "-1", "--yes")
            for schema in schemas:
                assert look(engine, schema) == before
        shop.migrate("migrate")
    shop.migrate("create", "umbrella")
    if line == "tenant":
        assert look(engine, "t_umbrella") == seen[-1]
