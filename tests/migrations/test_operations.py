"""Every Alembic operation works in the tenant's schema, with the placeholder or without a schema."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import URL, text
from sqlalchemy.dialects import postgresql

from tenantkit import Tenancy
from tenantkit.migrations import init, migrate
from tests.migrations.environments import Environment
from tests.migrations.shapes import look, shape
from tests.support.models import APPLICATION, TenantBase

BASE = """

op.create_table("project", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)), schema=S)
op.create_table(
    "task",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.Integer),
    sa.Column("title", sa.Text, server_default=sa.text("'none'"), nullable=False),
    sa.Column("hours", sa.Integer),
    schema=S,
)
op.bulk_insert(sa.table("project", sa.column("id", sa.Integer), sa.column("name"), schema=S), [{"id": 1, "name": "a"}])
"""

OPERATIONS = {
    "create_table": """
        op.create_table(
            "note",
            sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
            sa.Column("project_id", sa.Integer, sa.ForeignKey(f"{S}.project.id" if S else "project.id")),
            sa.Column("tags", postgresql.ARRAY(sa.Text)),
            sa.Column("data", postgresql.JSONB, server_default="{}", comment="anything"),
            sa.Column("size", sa.Integer, sa.Computed("length(data::text)", persisted=True)),
            sa.CheckConstraint("project_id > 0", name="ck_note"),
            comment="what people say",
            schema=S,
        )
    """,
    "create_table_with_enum": """
        op.create_table("e", sa.Column("state", sa.Enum("a", "b", name="mood", schema=S)), schema=S)
    """,
    "drop_table": 'op.drop_table("task", schema=S)',
    "rename_table": 'op.rename_table("task", "job", schema=S)',
    "add_column": """
        op.add_column("task", sa.Column("done", sa.Boolean, server_default=sa.false(), nullable=False), schema=S)
    """,
    "add_column_with_reference": """
        target = f"{S}.project.id" if S else "project.id"
        op.add_column("task", sa.Column("p", sa.Integer, sa.ForeignKey(target)), schema=S)
    """,
    "add_column_with_reference_to_shared": """
        op.add_column("task", sa.Column("country", sa.Text, sa.ForeignKey("shared.country.code")), schema=S)
    """,
    "add_column_with_new_enum": """
        op.add_column("task", sa.Column("state", sa.Enum("x", "y", name="st", schema=S)), schema=S)
    """,
    "add_column_with_array_of_enum": """
        op.add_column("task", sa.Column("states", postgresql.ARRAY(sa.Enum("x", "y", name="st", schema=S))), schema=S)
    """,
    "add_computed_column": """
        op.add_column("task", sa.Column("double", sa.Integer, sa.Computed("hours * 2", persisted=True)), schema=S)
    """,
    "drop_column": 'op.drop_column("task", "hours", schema=S)',
    "alter_column_type": """
        op.alter_column("task", "hours", type_=sa.Numeric(8, 2), existing_type=sa.Integer, schema=S)
    """,
    "alter_column_to_new_enum": """
        op.alter_column(
            "task", "title", server_default=None, existing_type=sa.Text, schema=S
        )
        op.alter_column(
            "task", "title", type_=sa.Enum("none", name="tt", schema=S), existing_type=sa.Text, schema=S,
            postgresql_using="title::text::tt",
        )
    """,
    "alter_column_name": 'op.alter_column("task", "hours", new_column_name="effort", schema=S)',
    "alter_column_null": 'op.alter_column("task", "hours", nullable=False, existing_type=sa.Integer, schema=S)',
    "alter_column_default": 'op.alter_column("task", "hours", server_default="7", existing_type=sa.Integer, schema=S)',
    "alter_column_comment": 'op.alter_column("task", "hours", comment="spent", existing_type=sa.Integer, schema=S)',
    "create_index": 'op.create_index("ix_a", "task", ["title", sa.text("lower(title)")], unique=True, schema=S)',
    "create_partial_index": """
        where = sa.text("hours > 1")
        op.create_index("ix_p", "task", ["title"], schema=S, postgresql_where=where, postgresql_using="hash")
    """,
    "drop_index": 'op.create_index("ix_a", "task", ["title"], schema=S); op.drop_index("ix_a", "task", schema=S)',
    "create_unique_constraint": 'op.create_unique_constraint("uq", "task", ["title", "hours"], schema=S)',
    "create_check_constraint": 'op.create_check_constraint("ck", "task", sa.column("hours") > 0, schema=S)',
    "create_foreign_key": """
        op.create_foreign_key("fk", "task", "project", ["project_id"], ["id"], source_schema=S, referent_schema=S)
    """,
    "create_foreign_key_to_shared": """
        op.add_column("task", sa.Column("c", sa.Text), schema=S)
        op.create_foreign_key("fk", "task", "country", ["c"], ["code"], source_schema=S, referent_schema="shared")
    """,
    "create_exclude_constraint": """
        op.create_exclude_constraint("ex", "task", (sa.column("hours"), "="), using="btree", schema=S)
    """,
    "drop_constraint": """
        op.create_unique_constraint("uq", "task", ["title"], schema=S)
        op.drop_constraint("uq", "task", schema=S)
    """,
    "create_primary_key": """
        op.drop_constraint("pk_task", "task", schema=S)
        op.create_primary_key("pk", "task", ["id", "title"], schema=S)
    """,
    "create_table_comment": 'op.create_table_comment("task", "to do", schema=S)',
    "drop_table_comment": """
        op.create_table_comment("task", "to do", schema=S)
        op.drop_table_comment("task", schema=S)
    """,
    "bulk_insert": """
        light = sa.table("task", sa.column("id", sa.Integer), sa.column("title", sa.Text), schema=S)
        op.bulk_insert(light, [{"id": n, "title": f"t{n}"} for n in range(3)])
        op.bulk_insert(light, [{"id": n, "title": f"t{n}"} for n in range(3, 6)], multiinsert=False)
    """,
    "bulk_insert_with_a_declared_table": """
        declared = sa.Table("task", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("title", sa.Text), schema=S)
        op.bulk_insert(declared, [{"id": 1, "title": "x"}])
    """,
    "execute_text": 'op.execute("INSERT INTO task (id, title) SELECT id, name FROM project")',
    "execute_update": """
        project = sa.table("project", sa.column("id", sa.Integer), sa.column("name", sa.Text), schema=S)
        op.execute(project.update().where(project.c.id == 1).values(name="changed"))
        op.execute(sa.insert(project).from_select(["id", "name"], sa.select(project.c.id + 1, project.c.name)))
    """,
    "get_bind": """
        project = sa.table("project", sa.column("id", sa.Integer), sa.column("name", sa.Text), schema=S)
        for row in op.get_bind().execute(sa.select(project)).all():
            op.get_bind().execute(project.update().where(project.c.id == row.id).values(name=row.name * 2))
    """,
    "get_bind_session": """
        from sqlalchemy.orm import Session
        project = sa.Table("project", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("name", sa.Text), schema=S)
        with Session(op.get_bind()) as session:
            session.execute(sa.update(project).values(name="session"))
            session.flush()
    """,
    "create_function_and_trigger": '''
        op.execute("""
            CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
                'BEGIN INSERT INTO project (id, name) VALUES (NEW.id + 100, ''touched''); RETURN NEW; END'
        """)
        op.execute("CREATE TRIGGER touch AFTER INSERT ON task FOR EACH ROW EXECUTE FUNCTION touch()")
        op.execute("INSERT INTO task (id) VALUES (5)")
    ''',
    "create_view_and_sequence": """
        op.execute("CREATE VIEW titles AS SELECT title FROM task")
        op.execute("CREATE SEQUENCE numbers")
    """,
    "several_statements_in_one_string": """
        op.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1); CREATE TABLE b ()")
    """,
    "batch": """
        with op.batch_alter_table("task", schema=S) as batch:
            batch.add_column(sa.Column("extra", sa.Text))
            batch.alter_column("hours", new_column_name="effort", existing_type=sa.Integer)
            batch.create_index("ix_b", ["extra"])
            batch.create_unique_constraint("uq_b", ["extra"])
            batch.drop_column("project_id")
    """,
    "enum_used_again_in_another_table": """
        mood = sa.Enum("a", "b", name="mood", schema=S)
        op.add_column("task", sa.Column("m", mood), schema=S)
        op.add_column("project", sa.Column("m", mood), schema=S)
        known = postgresql.ENUM("a", "b", name="mood", schema=S, create_type=False)
        op.create_table("third", sa.Column("m", known), schema=S)
    """,
    "enum_with_default": """
        op.add_column("task", sa.Column("m", sa.Enum("a", "b", name="mood", schema=S), server_default="a"), schema=S)
    """,
    "add_enum_value": """
        op.execute("CREATE TYPE mood AS ENUM ('a')")
        with op.get_context().autocommit_block():
            op.execute("ALTER TYPE mood ADD VALUE 'b'")
        op.execute("CREATE TABLE m (x mood DEFAULT 'b')")
    """,
    "create_index_concurrently": """
        with op.get_context().autocommit_block():
            op.create_index("ix_c", "task", ["title"], schema=S, postgresql_concurrently=True)
            op.execute("CREATE INDEX CONCURRENTLY ix_d ON task (hours)")
        op.create_index("ix_e", "task", ["project_id"], schema=S)
        op.execute("CREATE TABLE after_the_block ()")
    """,
    "create_index_concurrently_by_itself": """
        op.create_index_concurrently("ix_c", "task", ["title", sa.text("lower(title)")], schema=S, unique=True)
        op.create_index_concurrently("ix_d", "task", ["hours"], schema=S, postgresql_where=sa.text("hours > 1"))
        op.drop_index_concurrently("ix_c", "task", schema=S)
        op.drop_index_concurrently("ix_not_there", schema=S)
    """,
    "validate_constraint": """
        op.create_check_constraint(op.f("ck"), "task", "hours > 0", schema=S, postgresql_not_valid=True)
        op.validate_constraint("ck", "task", schema=S)
    """,
    "create_constraints_concurrently": """
        op.create_check_constraint_concurrently("ck", "task", sa.column("hours") > 0, schema=S)
        options = {"source_schema": S, "referent_schema": S, "ondelete": "CASCADE"}
        op.create_foreign_key_concurrently("fk", "task", "project", ["project_id"], ["id"], **options)
        op.create_foreign_key_concurrently(
            "fk_c", "task", "country", ["title"], ["code"], source_schema=S, referent_schema="shared"
        )
    """,
    "backfill": """
        op.execute("INSERT INTO task (id, title) SELECT n, 'Title ' || n FROM generate_series(1, 25) n")
        op.backfill("task", {"hours": sa.column("id") * 2, "title": "%s"}, "hours IS NULL", batch_size=10, schema=S)
        op.backfill("project", {"name": sa.func.upper(sa.column("name"))}, sa.column("name") == "a", schema=S)
    """,
    "add_required_column": """
        op.execute("INSERT INTO task (id, title) SELECT n, 'Title ' || n FROM generate_series(1, 25) n")
        slug = sa.Column("slug", sa.String(50), nullable=False, comment="for addresses")
        op.add_required_column("task", slug, sa.func.lower(sa.column("title")), batch_size=10, schema=S)
        done = sa.Column("done", sa.Boolean, server_default=sa.false(), nullable=False)
        op.add_required_column("task", done, schema=S)
        code = sa.Column("code", sa.Text, server_default="x", nullable=False)
        op.add_required_column("task", code, "old", schema=S)
    """,
}

ALEMBIC_NEEDS = {
    "add_column_with_new_enum": "CREATE TYPE st AS ENUM ('x', 'y')",
    "add_column_with_array_of_enum": "CREATE TYPE st AS ENUM ('x', 'y')",
    "alter_column_to_new_enum": "CREATE TYPE tt AS ENUM ('none')",
    "enum_used_again_in_another_table": "CREATE TYPE mood AS ENUM ('a', 'b')",
    "enum_with_default": "CREATE TYPE mood AS ENUM ('a', 'b')",
}
"""Additional operations for plain Alembic, which creates no type for a column of an existing table."""


ALEMBIC_RUNS = {
    "add_enum_value",
    "add_required_column",
    "backfill",
    "create_constraints_concurrently",
    "create_index_concurrently",
    "create_index_concurrently_by_itself",
    "get_bind",
    "get_bind_session",
}
"""Operations that are not replayed: Python with the connection, and steps outside of a transaction."""


KEYS = ("old", "second", "third")


@dataclass(frozen=True)
class Prepared:
    """A database with tenants, and a schema ``plain``, at the first revision, and its environment."""

    schema: str | None
    database: str
    folder: Path


@pytest.fixture(scope="module", params=["tenant", None], ids=["placeholder", "no-schema"])
def prepared(
    request: pytest.FixtureRequest,
    make_template: Callable[..., URL],
    application_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Prepared:
    """Revisions whose operations have the placeholder or no schema."""
    folder = tmp_path_factory.mktemp("operations") / "migrations"
    init(folder)
    Environment(folder).add("one", f"S = {request.param!r}\n{BASE}")
    url = make_template(application_template)
    with closing(Tenancy(url, listen=False, migrations=folder, **APPLICATION)) as tenancy:
        for key in KEYS:
            tenancy.create(key)
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA plain")
    run_plainly(url, BASE)
    assert url.database
    return Prepared(request.param, url.database, folder)


def run_plainly(url: URL, *codes: str) -> tuple[list[str], dict[str, list[str]]]:
    """Run a revision's code in the schema ``plain`` with Alembic alone; return its shape."""
    engine = sa.create_engine(url, connect_args={"options": "-csearch_path=plain"}, poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": TenantBase.metadata})
        for code in codes:
            with context.begin_transaction(), Operations.context(context) as op:
                exec(compile(code, "<revision>", "exec"), {"op": op, "sa": sa, "postgresql": postgresql, "S": None})
        return look(connection, "plain")


@pytest.mark.some_values(operation=24)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_has_the_same_result_for_a_tenant_as_for_one_schema(
    operation: str, prepared: Prepared, make_database: Callable[..., URL], tmp_path: Path
) -> None:
    code = dedent(OPERATIONS[operation])
    shutil.copytree(prepared.folder, tmp_path / "migrations")
    Environment(tmp_path / "migrations", {"tenant": "one"}).add("two", f"S = {prepared.schema!r}\n{code}")
    url = make_database(prepared.database)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        bystander = look(connection, "t_old")
        public = shape(connection, "public"), shape(connection, "shared")

    with closing(Tenancy(url, listen=False, migrations=tmp_path / "migrations", **APPLICATION)) as tenancy:
        tenancy.create("new")
        with engine.begin() as connection:
            assert look(connection, "t_old") == bystander
        report = migrate(tenancy, jobs=1)
    engines = {outcome.key: outcome.engine for outcome in report.outcomes}
    assert engines == dict(
        zip(KEYS, ("alembic", "alembic", "alembic" if operation in ALEMBIC_RUNS else "replay"), strict=True)
    )

    needs = ALEMBIC_NEEDS.get(operation)
    expected = run_plainly(url, *([f'op.execute("{needs}")'] if needs else []), code)
    with engine.begin() as connection:
        for key in KEYS:
            assert look(connection, f"t_{key}") == expected, f"migrated: {key}"
        assert look(connection, "t_new") == expected, "created"
        assert (shape(connection, "public"), shape(connection, "shared")) == public
        assert connection.execute(text("SELECT to_regnamespace('tenant')")).scalar() is None
