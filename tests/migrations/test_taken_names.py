"""Existing names: an object counts as the revision's own only if its definition is the same."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine, create_engine

from tenantkit import MigrationError, Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations import migrate
from tenantkit.registry.revisions import MARK
from tests.migrations.environments import Environment
from tests.migrations.plain import operating

Make = Callable[..., Tenancy]


@pytest.fixture
def plain(empty_database: URL) -> Generator[Engine]:
    engine = create_engine(empty_database)
    execute(
        engine,
        "CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE)",
        "CREATE TABLE other (id int PRIMARY KEY, x int)",
        'CREATE TABLE t (id int PRIMARY KEY, x int, s text, p int, "Camel" int)',
        "INSERT INTO parent VALUES (1, 'a')",
        "INSERT INTO t VALUES (1, 1, 'a', 1)",
    )
    yield engine
    engine.dispose()


def execute(engine: Engine, *statements: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def invalidate(engine: Engine, index: str) -> None:
    execute(engine, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")


def valid(engine: Engine) -> dict[str, bool]:
    query = (
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE 'ix%'"
    )
    with engine.connect() as connection:
        return dict(tuple(row) for row in connection.execute(sa.text(query)))


INDEXES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "plain": (["x"], {}),
    "two": (["x", "s"], {}),
    "other order": (["s", "x"], {}),
    "unique": (["x"], {"unique": True}),
    "descending": ([sa.text("x DESC")], {}),
    "an expression": ([sa.text("lower(s)")], {}),
    "of the table": ([sa.text("abs(t.x)")], {}),
    "partial": (["x"], {"postgresql_where": sa.text("s LIKE 'a%'")}),
    "another part": (["x"], {"postgresql_where": sa.text("s LIKE 'b%'")}),
    "including": (["x"], {"postgresql_include": ["s"]}),
    "opclass": (["s"], {"postgresql_ops": {"s": "text_pattern_ops"}}),
    "no opclass": (["s"], {}),
    "hash": (["x"], {"postgresql_using": "hash"}),
    "collation": ([sa.text('s COLLATE "C"')], {}),
    "nulls": (["x"], {"unique": True, "postgresql_nulls_not_distinct": True}),
    "capitals": (["Camel"], {}),
}


@pytest.mark.some_values(meant=11)
@pytest.mark.parametrize("meant", INDEXES)
def test_an_index_counts_as_built_only_with_the_same_definition(meant: str, plain: Engine) -> None:
    for there, (columns, options) in INDEXES.items():
        with operating(plain) as op:
            op.create_index("ix", "t", columns, **options)
        own, own_options = INDEXES[meant]
        if there == meant:
            with operating(plain) as op:
                op.create_index_concurrently("ix", "t", own, **own_options)
        else:
            with (
                pytest.raises(ConfigurationError, match="The name ix is taken by the .*index on t .* means the"),
                operating(plain) as op,
            ):
                op.create_index_concurrently("ix", "t", own, **own_options)
        execute(plain, "DROP INDEX ix")


TAKEN = {
    "an index of another table": "CREATE INDEX ix ON other (x)",
    "a table": "CREATE TABLE ix ()",
    "a view": "CREATE VIEW ix AS SELECT 1",
    "a sequence": "CREATE SEQUENCE ix",
    "a constraint's index": "ALTER TABLE t ADD CONSTRAINT ix UNIQUE (s)",
}


@pytest.mark.parametrize("statement", TAKEN.values(), ids=TAKEN)
def test_another_object_with_the_name_does_not_count_as_the_index(statement: str, plain: Engine) -> None:
    execute(plain, statement)
    with pytest.raises(ConfigurationError, match="The name ix is taken by"), operating(plain) as op:
        op.create_index_concurrently("ix", "t", ["x"])


def test_an_index_of_another_table_is_not_dropped(plain: Engine) -> None:
    execute(plain, "CREATE INDEX ix ON other (id)")
    with pytest.raises(ConfigurationError, match="ix is not dropped: it is the index on other"), operating(plain) as op:
        op.drop_index_concurrently("ix", "t")
    assert valid(plain) == {"ix": True}
    for _ in range(2):
        with operating(plain) as op:
            op.drop_index_concurrently("ix", "other")
        assert valid(plain) == {}


@pytest.mark.parametrize("there", ["CREATE INDEX ix ON other (x)", "CREATE TABLE ix ()", "CREATE VIEW ix AS SELECT 1"])
@pytest.mark.parametrize("table", ["t", "not_there"])
def test_another_object_with_the_name_is_not_dropped(there: str, table: str, plain: Engine) -> None:
    execute(plain, there)
    with pytest.raises(ConfigurationError, match="ix is not dropped: it is "), operating(plain) as op:
        op.drop_index_concurrently("ix", table)
    with plain.connect() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('ix')").scalar() == "ix"


def test_an_index_of_another_schema_on_the_path_is_not_dropped(plain: Engine) -> None:
    execute(plain, "CREATE INDEX ix ON other (x)", "CREATE SCHEMA own", "CREATE TABLE own.t (x int)")
    with operating(plain) as op:
        op.execute("SET SESSION search_path = own, public")
        op.drop_index_concurrently("ix", "t")
    assert valid(plain) == {"ix": True}


@pytest.mark.parametrize(("there", "is_dropped"), [("t (x)", True), ("t (s)", False), ("other (x)", False)])
def test_an_invalid_index_is_built_again_only_with_the_same_definition(
    there: str, is_dropped: bool, plain: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    execute(plain, f"CREATE INDEX ix ON {there}")
    invalidate(plain, "ix")
    if is_dropped:
        with operating(plain) as op:
            op.create_index_concurrently("ix", "t", ["x"])
        assert caplog.messages == ["drop the index ix of t, which an interrupted build left invalid"]
    else:
        with pytest.raises(ConfigurationError, match="taken by the invalid index on"), operating(plain) as op:
            op.create_index_concurrently("ix", "t", ["x"])
        assert caplog.messages == []
    assert valid(plain) == {"ix": is_dropped}


def check(condition: Any) -> Callable[[Any, bool], None]:
    def add(op: Any, concurrently: bool) -> None:
        name = "create_check_constraint" + ("_concurrently" if concurrently else "")
        getattr(op, name)("c", "t", condition)

    return add


def key(referent: str, local: str, remote: str, **options: Any) -> Callable[[Any, bool], None]:
    def add(op: Any, concurrently: bool) -> None:
        name = "create_foreign_key" + ("_concurrently" if concurrently else "")
        getattr(op, name)("c", "t", referent, [local], [remote], **options)

    return add


CONSTRAINTS = {
    "check": check("x > 0"),
    "another check": check("x >= 0"),
    "check by the table's name": check("abs(t.x) > 0 AND s LIKE 'a%'"),
    "check as an expression": check(sa.column("p") > 0),
    "key": key("parent", "p", "id"),
    "key of another column": key("parent", "x", "id"),
    "key to another column": key("parent", "s", "code"),
    "key to another table": key("other", "p", "id"),
    "key to itself": key("t", "x", "id"),
    "key with an action": key("parent", "p", "id", ondelete="CASCADE"),
    "key with another action": key("parent", "p", "id", onupdate="CASCADE"),
    "key that sets NULL": key("parent", "p", "id", ondelete="SET NULL"),
    "key that can be deferred": key("parent", "p", "id", deferrable=True, initially="DEFERRED"),
}
OTHERS = {
    "UNIQUE (x)": 0,
    "CHECK (x > 0) NO INHERIT": 0,
    "CHECK (x > 0) NOT ENFORCED": 18,
    "FOREIGN KEY (p) REFERENCES parent MATCH FULL": 0,
    "FOREIGN KEY (p) REFERENCES parent ON DELETE SET NULL (p)": 15,
    "FOREIGN KEY (p) REFERENCES parent NOT ENFORCED": 18,
    "FOREIGN KEY (p) REFERENCES elsewhere.parent": 0,
}
"""Definitions of constraints that no operation adds, with the first version of PostgreSQL that has them."""


@pytest.mark.parametrize("definition", OTHERS)
def test_a_constraint_that_no_operation_adds_never_counts_as_one(definition: str, plain: Engine) -> None:
    execute(plain, "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.parent AS TABLE parent")
    execute(plain, "ALTER TABLE elsewhere.parent ADD PRIMARY KEY (id)")
    with plain.connect() as connection:
        if (connection.dialect.server_version_info or ()) < (OTHERS[definition],):
            pytest.skip("it is newer than the server")
    execute(plain, f"ALTER TABLE t ADD CONSTRAINT c {definition}")
    for add in CONSTRAINTS.values():
        with pytest.raises(ConfigurationError, match="t has a constraint c already: "), operating(plain) as op:
            add(op, True)


@pytest.mark.some_values(meant=9)
@pytest.mark.parametrize("meant", CONSTRAINTS)
def test_a_constraint_counts_as_added_only_with_the_same_definition(meant: str, plain: Engine) -> None:
    execute(plain, "INSERT INTO other VALUES (1)")
    for there, add in CONSTRAINTS.items():
        with operating(plain) as op:
            add(op, False)
        if there == meant:
            with operating(plain) as op:
                CONSTRAINTS[meant](op, True)
        else:
            with (
                pytest.raises(ConfigurationError, match="t has a constraint c already: .* This revision means "),
                operating(plain) as op,
            ):
                CONSTRAINTS[meant](op, True)
        execute(plain, "ALTER TABLE t DROP CONSTRAINT c")


COLUMNS: dict[str, sa.Column[Any]] = {
    "integer": sa.Column("y", sa.Integer, nullable=False),
    "with a default": sa.Column("y", sa.Integer, server_default="3", nullable=False),
    "with another default": sa.Column("y", sa.Integer, server_default="4", nullable=False),
    "text": sa.Column("y", sa.Text, nullable=False),
    "short text": sa.Column("y", sa.String(5), nullable=False),
    "longer text": sa.Column("y", sa.String(6), nullable=False),
    "numbers": sa.Column("y", sa.Numeric(8, 2), nullable=False),
    "precise numbers": sa.Column("y", sa.Numeric(8, 3), nullable=False),
    "sorted text": sa.Column("y", sa.Text(collation="C"), nullable=False),
}


@pytest.mark.some_values(meant=6)
@pytest.mark.parametrize("meant", COLUMNS)
def test_a_column_counts_as_added_only_with_the_same_definition(meant: str, plain: Engine) -> None:
    for there, column in COLUMNS.items():
        with operating(plain) as op:
            default: Any = column.server_default
            op.add_column("t", sa.Column("y", column.type, server_default=default and default.arg))
        if there == meant:
            with operating(plain) as op:
                op.add_required_column("t", COLUMNS[meant], sa.text("'1'"))
        else:
            with (
                pytest.raises(ConfigurationError, match="t has a column y already: .* This revision means "),
                operating(plain) as op,
            ):
                op.add_required_column("t", COLUMNS[meant], sa.text("'1'"))
        execute(plain, "ALTER TABLE t DROP COLUMN y")


@pytest.mark.parametrize("meant", [COLUMNS["integer"], sa.Column("y", sa.Integer, server_default="3", nullable=False)])
@pytest.mark.parametrize("there", ["ALWAYS AS IDENTITY", "BY DEFAULT AS IDENTITY", "ALWAYS AS (3) STORED"])
def test_a_generated_column_does_not_count_as_a_plain_one(there: str, meant: sa.Column[Any], plain: Engine) -> None:
    execute(plain, f"ALTER TABLE t ADD COLUMN y int GENERATED {there}")
    with (
        pytest.raises(ConfigurationError, match="y already: integer GENERATED .* means integer"),
        operating(plain) as op,
    ):
        op.add_required_column("t", meant, 1)


def test_another_check_with_the_name_does_not_count_as_that_of_a_required_column(plain: Engine) -> None:
    execute(plain, "ALTER TABLE t ADD CONSTRAINT required_y CHECK (x > 0)")
    with (
        pytest.raises(
            ConfigurationError, match=re.escape("already: CHECK ((x > 0)). This revision means CHECK ((y IS NOT NULL))")
        ),
        operating(plain) as op,
    ):
        op.add_required_column("t", sa.Column("y", sa.Integer, nullable=False), 1)


ONE = """
op.create_table("a", sa.Column("x", sa.Integer), sa.Column("y", sa.Integer), schema="tenant")
op.execute("CREATE TABLE parts (x int) PARTITION BY LIST (x)")
op.execute("CREATE TABLE part PARTITION OF parts DEFAULT")
"""


def test_only_invalid_indexes_with_a_name_of_the_revision_are_dropped(
    environment: Environment, migrated_tenancy: Make, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    environment.add("one", ONE)
    migrated_tenancy().create("acme")
    execute(
        engine,
        "CREATE INDEX ix_child ON t_acme.part (x)",
        "CREATE INDEX ix_parent ON t_acme.parts (x)",
        "CREATE INDEX ix_others ON t_acme.a (y)",
        "CREATE INDEX ix_mine ON t_acme.a (x)",
    )
    for index in ("ix_child", "ix_others", "ix_mine"):
        invalidate(engine, f"t_acme.{index}")
    environment.add("two", 'op.create_index_concurrently("ix_mine", "a", ["x"], schema="tenant")')
    environment.add("three", 'with op.get_context().autocommit_block():\n    op.execute("SELECT 1")')
    with caplog.at_level(logging.INFO, "tenantkit.migrations"):
        migrate(migrated_tenancy(), jobs=0)
    assert valid(engine) == {"ix_child": False, "ix_parent": True, "ix_others": False, "ix_mine": True}
    assert caplog.messages == ["drop the index ix_mine of a, which an interrupted build left invalid"]


STEPS = {
    "operation": 'op.create_index("ix", "a", ["x"], schema="tenant", postgresql_concurrently=True)',
    "text": 'op.execute("CREATE INDEX CONCURRENTLY ix ON a (x)")',
}


@pytest.mark.parametrize("there", ["a (y)", "part (x)"])
@pytest.mark.parametrize("is_valid", [True, False])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_after_an_interruption_another_index_does_not_count_as_the_revisions(
    step: str, is_valid: bool, there: str, environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    migrated_tenancy().create("acme")
    execute(
        engine,
        f"CREATE INDEX ix ON t_acme.{there}",
        f"COMMENT ON TABLE t_acme.alembic_version IS '{MARK}upgrade two'",
    )
    if not is_valid:
        invalidate(engine, "t_acme.ix")
    environment.add("two", f"with op.get_context().autocommit_block():\n    {step}")
    with pytest.raises(MigrationError, match='relation "ix" already exists'):
        migrate(migrated_tenancy(), jobs=0)
    assert valid(engine) == {"ix": is_valid}


def test_an_invalid_child_index_with_a_name_of_the_revision_is_kept(
    environment: Environment, migrated_tenancy: Make, engine: Engine
) -> None:
    environment.add("one", ONE)
    migrated_tenancy().create("acme")
    execute(engine, "CREATE INDEX ix_child ON t_acme.part (x)", "CREATE INDEX ix_parent ON t_acme.parts (x)")
    invalidate(engine, "t_acme.ix_child")
    environment.add("two", 'op.create_index_concurrently("ix_child", "part", ["x"], schema="tenant")')
    with pytest.raises(MigrationError, match="ix_child is taken by the invalid index on part"):
        migrate(migrated_tenancy(), jobs=0)
    assert valid(engine) == {"ix_child": False, "ix_parent": True}
