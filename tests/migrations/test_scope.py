"""Autogenerate compares the objects of one side, and ignores other objects there and elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import PriorityDispatchResult
from sqlalchemy import Engine

from tenantkit import Tenancy
from tenantkit.migrations import downgrade, migrate, revision, upgrade_shared
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape

Make = Callable[..., Tenancy]

PARTITIONED = """
CREATE TABLE {schema}event (id bigint NOT NULL, at date NOT NULL, text text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE INDEX ix_event_text ON {schema}event (text);
CREATE TABLE {schema}event_2025 PARTITION OF {schema}event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE {schema}event_2026 PARTITION OF {schema}event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
    PARTITION BY RANGE (at);
CREATE TABLE {schema}event_2026_a PARTITION OF {schema}event_2026 DEFAULT;
CREATE INDEX ix_own ON {schema}event_2025 (at, text);
CREATE TABLE {schema}base (id int PRIMARY KEY, name text);
CREATE TABLE {schema}derived (extra int) INHERITS ({schema}base);
CREATE TABLE {schema}reply (id int PRIMARY KEY, event_id bigint, event_at date);
ALTER TABLE {schema}reply ADD CONSTRAINT fk_reply_event FOREIGN KEY (event_id, event_at) REFERENCES {schema}event;
INSERT INTO {schema}event VALUES (1, '2025-06-01', 'x'), (2, '2026-06-01', 'a');
"""


def declare(schema: str | None, *more: str) -> sa.MetaData:
    """Declare the tables of `PARTITIONED`, without partitions except for those named in *more*."""
    metadata = sa.MetaData(schema=schema)
    for name in ("event", *more):
        event = sa.Table(
            name,
            metadata,
            sa.Column("id", sa.BigInteger, primary_key=True),
            sa.Column("at", sa.Date, primary_key=True),
            sa.Column("text", sa.Text),
            postgresql_partition_by="RANGE (at)" if name == "event" else None,
        )
        if name == "event":
            sa.Index("ix_event_text", event.c.text)
    sa.Table("base", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    event = metadata.tables[f"{schema}.event" if schema else "event"]
    sa.Table(
        "reply",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("event_id", sa.BigInteger),
        sa.Column("event_at", sa.Date),
        sa.ForeignKeyConstraint(["event_id", "event_at"], [event.c.id, event.c.at], name="fk_reply_event"),
    )
    return metadata


@pytest.mark.all_cases
@pytest.mark.parametrize("placeholder", ["tenant", None])
def test_partitions_and_inheriting_tables_are_ignored(
    placeholder: str | None, environment: Environment, make_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", f"op.execute({PARTITIONED.format(schema='')!r})")

    def make(metadata: sa.MetaData) -> Tenancy:
        return make_tenancy(
            shared=sa.MetaData(), tenant=metadata, placeholder=placeholder, migrations=environment.folder
        )

    assert revision(make(declare(placeholder)), "none", autogenerate=True) is None
    make(declare(placeholder)).create("acme")
    with engine.begin() as connection:
        before = rows(connection, "t_acme")

    metadata = declare(placeholder)
    key = "tenant." if placeholder else ""
    metadata.tables[f"{key}event"].append_column(sa.Column("more", sa.Text))
    metadata.remove(metadata.tables[f"{key}reply"])
    written = revision(make(metadata), "more", autogenerate=True)
    assert written is not None
    assert written.read_text().count("drop_table") == 1
    assert not {"event_2", "tenantkit_autogenerate"} & {
        *re.findall(r"event_2|tenantkit_autogenerate", written.read_text())
    }
    assert written.read_text().count("ForeignKeyConstraint") == 1
    assert revision(make(metadata), "none", autogenerate=True) is None
    migrate(make(metadata), jobs=0)
    with engine.begin() as connection:
        after = rows(connection, "t_acme")
    assert len(after["event_2025"]) == len(before["event_2025"]) == 1
    assert {*before} - {*after} == {"reply"}
    downgrade(make(metadata), "-1", jobs=0)
    with engine.begin() as connection:
        assert rows(connection, "t_acme") == before


def test_partitions_of_shared_tables_are_ignored(environment: Environment, make_tenancy: Make) -> None:
    environment.add("one", f"op.execute({PARTITIONED.format(schema='common.')!r})", line="shared")
    tenancy = make_tenancy(shared=declare("common"), migrations=environment.folder)
    upgrade_shared(tenancy)
    written = revision(tenancy, "none", shared=True, autogenerate=True)
    assert written is None, written.read_text()


def test_a_partition_with_a_model_of_its_own_is_compared(environment: Environment, make_tenancy: Make) -> None:
    environment.add("one", f"op.execute({PARTITIONED.format(schema='')!r})")
    metadata = declare("tenant", "event_2025")
    index = sa.Index("ix_new", metadata.tables["tenant.event_2025"].c.id)
    written = revision(
        make_tenancy(shared=sa.MetaData(), tenant=metadata, migrations=environment.folder), "x", autogenerate=True
    )
    assert written is not None
    assert f"create_index({index.name!r}, 'event_2025'" in written.read_text()
    assert "_table" not in written.read_text()


def test_tables_of_extensions_and_of_other_schemas_are_ignored(
    environment: Environment, make_tenancy: Make, empty_database: sa.URL
) -> None:
    # Extensions such as pg_buffercache have views; a table is marked as an extension's, as in PostGIS.
    environment.add(
        "one",
        """
        op.execute("CREATE EXTENSION citext SCHEMA public")
        op.execute("CREATE TABLE public.spatial (id int)")
        op.execute("ALTER EXTENSION citext ADD TABLE public.spatial")
        op.execute("CREATE SCHEMA other CREATE TABLE theirs (id int) CREATE VIEW seen AS SELECT 1")
        op.create_table("ours", sa.Column("id", sa.Integer, primary_key=True), schema="public")
        """,
        line="shared",
    )
    shared = sa.MetaData(schema="public")
    sa.Table("ours", shared, sa.Column("id", sa.Integer, primary_key=True))
    tenancy = make_tenancy(database=empty_database, shared=shared, migrations=environment.folder)
    upgrade_shared(tenancy)
    written = revision(tenancy, "none", shared=True, autogenerate=True)
    assert written is None, written.read_text()


def test_env_py_may_exclude_names(environment: Environment, make_tenancy: Make) -> None:
    environment.add("one", "op.execute('CREATE TABLE kept (id int); CREATE TABLE dropped (id int)')")
    (environment.folder / "env.py").write_text(
        "from tenantkit.migrations import run_environment\n"
        "def include_name(name, kind, parents): return kind != 'table' or name != 'kept'\n"
        "run_environment(include_name=include_name)\n"
    )
    metadata = sa.MetaData(schema="tenant")
    sa.Table("note", metadata, sa.Column("id", sa.Integer, primary_key=True))
    tenancy = make_tenancy(shared=sa.MetaData(), tenant=metadata, migrations=environment.folder)
    written = revision(tenancy, "x", autogenerate=True)
    assert written is not None
    assert "op.drop_table('dropped', schema='tenant')" in written.read_text()
    assert "'kept'" not in written.read_text()
    assert "alembic_version" not in written.read_text()


def test_objects_of_partitioned_tables_are_upgraded_and_downgraded(
    environment: Environment, make_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", f"op.execute({PARTITIONED.format(schema='')!r})")
    metadata = declare("tenant")

    def make() -> Tenancy:
        return make_tenancy(shared=sa.MetaData(), tenant=metadata, migrations=environment.folder)

    make().create("acme")
    with engine.begin() as connection:
        before = shape(connection, "t_acme")
    sa.Index("ix_event_at", metadata.tables["tenant.event"].c.at)
    assert revision(make(), "two", autogenerate=True)
    migrate(make(), jobs=0)
    downgrade(make(), "-1", jobs=0)
    with engine.begin() as connection:
        assert shape(connection, "t_acme") == before


class View(NamedTuple):
    """A kind of object that Alembic does not know."""

    schema: str
    name: str


PLUGIN = "own.views"


@pytest.fixture
def compared() -> Generator[dict[str, list[View]]]:
    """The views that a plug-in of Alembic, which looks into all schemas, compares by either filter."""
    compared: dict[str, list[View]] = {"by name": [], "by object": []}

    def compare(context: AutogenContext, _operations: UpgradeOps) -> PriorityDispatchResult:
        assert context.connection is not None
        query = "SELECT schemaname, viewname FROM pg_views WHERE schemaname !~ '^pg_|^information_schema$'"
        for schema, name in context.connection.execute(sa.text(query)):
            view = View(schema, name)
            if context.run_name_filters(name, "view", {"schema_name": schema}):
                compared["by name"].append(view)
            if context.run_object_filters(view, name, "view", True, None):
                compared["by object"].append(view)
        return PriorityDispatchResult.CONTINUE

    plugin = Plugin(PLUGIN)
    plugin.add_autogenerate_comparator(compare, "autogenerate")
    yield compared
    plugin.remove()


@pytest.mark.parametrize(("line", "own"), [("tenant", View("tenant", "mine")), ("shared", View("shared", "ours"))])
def test_other_packages_compare_their_kinds_of_objects_in_the_schemas_of_a_line(
    line: str, own: View, compared: dict[str, list[View]], environment: Environment, make_tenancy: Make
) -> None:
    environment.add("s1", "op.execute('CREATE VIEW shared.ours AS SELECT 1')", line="shared")
    environment.add("one", "op.execute('CREATE VIEW mine AS SELECT 1')")
    tenancy = make_tenancy(migrations=environment.folder)
    upgrade_shared(tenancy)
    with tenancy.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other CREATE VIEW theirs AS SELECT 1")
        connection.exec_driver_sql("CREATE VIEW tenantkit.kept AS SELECT 1")
    (environment.folder / "env.py").write_text(
        "from tenantkit.migrations import run_environment\n"
        f"run_environment(autogenerate_plugins=['alembic.autogenerate.*', {PLUGIN!r}])\n"
    )
    revision(tenancy, "x", shared=line == "shared", autogenerate=True)
    assert compared == {"by name": [own], "by object": [own]}
