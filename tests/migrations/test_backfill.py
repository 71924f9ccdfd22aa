"""Backfills: the rows that they set, refusals, and their end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from threading import Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine, NullPool, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import MigrationError, Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations import migrate
from tests.migrations.environments import Environment
from tests.migrations.plain import operating

T = sa.table("t", sa.column("id"), sa.column("x"), sa.column("p"))


@pytest.fixture
def plain(empty_database: URL) -> Generator[Engine]:
    """A database with a table and its rows, for Alembic without tenantkit."""
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (id int PRIMARY KEY, x int, p int)")
        connection.exec_driver_sql("INSERT INTO t SELECT n, NULL, 1 + n %% 10 FROM generate_series(1, 1000) n")
    yield engine
    engine.dispose()


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def count(engine: Engine, where: str, table: str = "t") -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {where}").scalar_one())


def refuse(engine: Engine, match: str, *arguments: Any, **options: Any) -> None:
    """Expect a backfill of t to be refused, with all rows unchanged."""
    with pytest.raises(ConfigurationError, match=match), operating(engine) as op:
        op.backfill(*(arguments or ("t", {"x": 1}, "x IS NULL")), **{"batch_size": 100, **options})
    assert count(engine, "x IS NULL") == 1000


def test_progress_is_reported_after_each_batch(plain: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tenantkit.migrations"), operating(plain) as op:
        op.backfill("t", {"x": 1}, "x IS NULL", batch_size=400)
    assert caplog.messages == [
        "backfill of t: 400 rows set, 33 % gone through",
        "backfill of t: 800 rows set, 66 % gone through",
        "backfill of t: 1000 rows set, 100 % gone through",
    ]


def test_a_condition_that_holds_after_the_update_is_refused(plain: Engine) -> None:
    refuse(plain, "still holds for rows that were set", "t", {"x": 1}, "p > 0")


def test_one_row_that_would_be_set_twice_refuses_the_whole_backfill(plain: Engine) -> None:
    refuse(plain, "such as that with id = 1000", "t", {"x": sa.text("nullif(id, 1000)")}, "x IS NULL")
    refuse(plain, "such as that with id = 1000", "t", {"x": sa.func.nullif(T.c.id, 1000)}, T.c.x.is_(None))


def test_a_value_that_fails_for_one_row_refuses_the_whole_backfill(plain: Engine) -> None:
    with pytest.raises(sa.exc.DataError, match="division by zero"), operating(plain) as op:
        op.backfill("t", {"x": 1 / (T.c.id - 1000)}, "x IS NULL", batch_size=10)
    assert count(plain, "x IS NULL") == 1000


OTHERS = T.alias("others")
READS: dict[str, tuple[Any, Any]] = {
    "a subquery over an alias": (sa.select(sa.func.count(OTHERS.c.x)).scalar_subquery(), "x IS NULL"),
    "a subquery over the table": (sa.select(sa.func.count(T.c.x)).scalar_subquery(), "x IS NULL"),
    "text": (sa.text("(SELECT 1 + count(o.x) FROM t o WHERE o.id < t.id)"), "x IS NULL"),
    "text, of whole rows": (sa.text("(SELECT count(o) FROM t o WHERE o IS NOT NULL)"), "x IS NULL"),
    "a condition": (1, "x IS NULL AND p > (SELECT count(x) FROM t)"),
    "a condition with EXISTS": (1, ~sa.exists().where(OTHERS.c.p == T.c.p, OTHERS.c.x.is_not(None))),
    "a join": (OTHERS.c.x, sa.and_(OTHERS.c.id == T.c.id + 1, T.c.x.is_(None))),
    "a view": (sa.text("(SELECT count(x) FROM seen)"), "x IS NULL"),
    "a view of a view": (sa.text("(SELECT count(x) FROM seen_again)"), "x IS NULL"),
    "a function": (sa.func.how_many(), "x IS NULL"),
    "a function with a parsed body": (sa.func.how_many_parsed(), "x IS NULL"),
}


@pytest.mark.parametrize(("value", "where"), READS.values(), ids=READS)
def test_a_value_that_depends_on_other_rows_that_are_set_is_refused(value: Any, where: Any, plain: Engine) -> None:
    execute(
        plain,
        "CREATE VIEW seen AS SELECT id, x FROM t",
        "CREATE VIEW seen_again AS SELECT x FROM seen",
        "CREATE FUNCTION how_many() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(x) FROM t); END'",
        "CREATE FUNCTION how_many_parsed() RETURNS bigint STABLE LANGUAGE sql BEGIN ATOMIC SELECT count(x) FROM t; END",
    )
    refuse(plain, "must not depend on the columns that are set in other rows of t", "t", {"x": value}, where)


def test_a_value_that_depends_on_other_columns_of_other_rows_is_accepted(plain: Engine) -> None:
    place = sa.select(sa.func.count()).where(OTHERS.c.id < T.c.id).scalar_subquery()
    with operating(plain) as op:
        op.backfill("t", {"x": place}, T.c.x.is_(None), batch_size=70)
    assert count(plain, "x = id - 1") == 1000


def test_a_subquery_over_a_partition_reads_the_same_rows(plain: Engine) -> None:
    execute(
        plain,
        "CREATE TABLE parts (id int, x int) PARTITION BY LIST (id)",
        "CREATE TABLE part PARTITION OF parts DEFAULT",
        "INSERT INTO parts SELECT generate_series(1, 10)",
    )
    refuse(
        plain, "depend on the columns that are set", "parts", {"x": sa.text("(SELECT count(x) FROM part)")}, "x IS NULL"
    )
    refuse(
        plain, "depend on the columns that are set", "part", {"x": sa.text("(SELECT count(x) FROM parts)")}, "x IS NULL"
    )


def test_the_table_may_not_be_two_objects(plain: Engine) -> None:
    again = sa.table("t", sa.column("id"), sa.column("x"))
    refuse(plain, "2 different table objects", "t", {"x": T.c.id}, again.c.x.is_(None))


def test_a_missing_column_is_named(plain: Engine) -> None:
    refuse(plain, "sets z, a column that the table t does not have", "t", {"z": 1}, "x IS NULL")
    refuse(plain, "sets z, a column that the table t does not have", "t", {"z": 1}, T.c.x.is_(None))
    refuse(plain, "sets x twice", "t", {"x": 1, T.c.x: 2}, "x IS NULL")


def test_a_table_object_need_not_have_the_columns_that_are_set(plain: Engine) -> None:
    for narrow in (sa.table("t", sa.column("id")), sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer))):
        execute(plain, "UPDATE t SET x = NULL")
        others = narrow.alias()
        place = sa.select(sa.func.count()).where(others.c.id < narrow.c.id).scalar_subquery()
        with operating(plain) as op:
            op.backfill("t", {"x": place}, "x IS NULL", batch_size=300)
        assert count(plain, "x = id - 1") == 1000
        assert "x" not in narrow.c


def test_none_for_json_must_be_sql_null_or_json_null(plain: Engine) -> None:
    execute(plain, "ALTER TABLE t ADD COLUMN j jsonb DEFAULT '1'")
    refuse(plain, "sa.JSON.NULL or sa.null", "t", {"j": None}, "j IS NOT NULL")
    j = sa.column("j", JSONB)
    with operating(plain) as op:
        op.backfill(sa.table("t", j), {j: None}, "j = '1'")
    assert count(plain, "j = 'null'") == 1000
    with operating(plain) as op:
        op.backfill("t", {"j": sa.null()}, "j IS NOT NULL")
    assert count(plain, "j IS NULL") == 1000


def test_a_mapped_class_and_its_attributes_name_table_and_columns(plain: Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "t"
        id: Mapped[int] = mapped_column(primary_key=True)
        number: Mapped[int] = mapped_column("x")

    with operating(plain) as op:
        op.backfill(Thing, {Thing.number: Thing.id + 1}, Thing.number.is_(None), batch_size=300)
        op.backfill(Thing, {"number": -Thing.number}, Thing.number > 500)
    assert (count(plain, "x = id + 1"), count(plain, "x = -id - 1")) == (499, 501)


BAD: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "no rows at a time": ({"batch_size": 0}, ConfigurationError),
    "fewer than none": ({"batch_size": -5}, ConfigurationError),
    "part of a row": ({"batch_size": 0.5}, TypeError),
    "a text": ({"batch_size": "10"}, TypeError),
    "a truth": ({"batch_size": True}, TypeError),
    "a pause before": ({"pause": -1}, ConfigurationError),
    "no number": ({"pause": float("nan")}, ConfigurationError),
    "for ever": ({"pause": float("inf")}, ConfigurationError),
    "a pause in words": ({"pause": "1s"}, TypeError),
    "no values": ({"values": {}}, ConfigurationError),
    "pairs": ({"values": [("x", 1)]}, TypeError),
    "no condition": ({"where": None}, TypeError),
    "always": ({"where": True}, TypeError),
    "an empty condition": ({"where": " "}, ConfigurationError),
    "no table": ({"table_name": ""}, ConfigurationError),
    "a number for a table": ({"table_name": 5}, TypeError),
    "another schema": ({"schema": "b", "table_name": sa.table("t", schema="a")}, ConfigurationError),
}


@pytest.mark.parametrize(("options", "error"), BAD.values(), ids=BAD)
def test_arguments_are_checked_also_without_rows(
    options: dict[str, Any], error: type[Exception], plain: Engine
) -> None:
    execute(plain, "TRUNCATE t")
    arguments = {"table_name": "t", "values": {"x": 1}, "where": "x IS NULL", **options}
    with pytest.raises(error, match=next(iter(options))), operating(plain) as op:
        op.backfill(**arguments)


@pytest.mark.parametrize(
    ("values", "where"), [({"x": sa.text("zz")}, "x IS NULL"), ({"x": "a"}, "x IS NULL"), ({"x": 1}, "zz IS NULL")]
)
def test_expressions_are_parsed_also_without_rows(values: Any, where: Any, plain: Engine) -> None:
    execute(plain, "TRUNCATE t")
    with pytest.raises(sa.exc.DBAPIError), operating(plain) as op:
        op.backfill("t", values, where)


HIDING = {
    "row-level security": (["ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE t OWNER TO postgres"], "row-level"),
    "forced on the owner": (
        ["ALTER TABLE t OWNER TO app_%s", "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"],
        "row-level security applies to the role app_",
    ),
}


@pytest.mark.parametrize(("statements", "match"), HIDING.values(), ids=HIDING)
def test_rows_that_the_role_may_not_see_are_an_error(statements: list[str], match: str, plain: Engine) -> None:
    role = f"app_{plain.url.database}"
    execute(plain, f'CREATE ROLE "{role}"', f'GRANT ALL ON SCHEMA public TO "{role}"', f'GRANT ALL ON t TO "{role}"')
    try:
        execute(plain, *(each.replace("app_%s", f'"{role}"') for each in statements))
        execute(plain, "CREATE POLICY few ON t USING (id <= 10)")
        alone = create_engine(plain.url, poolclass=NullPool)
        with pytest.raises(ConfigurationError, match=match), operating(alone) as op:
            op.execute(f'SET SESSION ROLE "{role}"')
            op.backfill("t", {"x": 1}, "x IS NULL")
        assert count(plain, "x IS NULL") == 1000
    finally:
        execute(plain, f'DROP OWNED BY "{role}" CASCADE', f'DROP ROLE "{role}"')


def test_an_owner_who_sees_all_rows_sets_them(plain: Engine) -> None:
    execute(plain, "ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    with operating(plain) as op:
        op.backfill("t", {"x": 1}, "x IS NULL")
    assert count(plain, "x = 1") == 1000


def trigger(body: str, when: str = "BEFORE UPDATE", extra: str = "") -> list[str]:
    return [
        f"CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
        f"CREATE {extra} TRIGGER keeper {when} ON t FOR EACH ROW EXECUTE FUNCTION keeps()",
    ]


AGAIN = "UPDATE t SET x = NULL WHERE id = NEW.id AND x IS NOT NULL; RETURN NULL;"
UNSET = {
    "swallows": (trigger("RETURN NULL;"), r"left out 100 by a trigger \(keeper\)"),
    "swallows one": (trigger("IF NEW.id = 7 THEN RETURN NULL; END IF; RETURN NEW;"), r"left out 1 by a trigger"),
    "takes back": (trigger("NEW.x := OLD.x; RETURN NEW;"), r"still holds .* by a trigger: keeper"),
    "takes back after": (trigger(AGAIN, "AFTER UPDATE"), r"changed again after they were set by a trigger \(keeper\)"),
    "takes back at the end": (
        trigger(AGAIN, "AFTER UPDATE", "CONSTRAINT").copy(),
        r"changed again after they were set by a trigger \(keeper\)",
    ),
    "rule": (["CREATE RULE no AS ON UPDATE TO t DO INSTEAD NOTHING"], "a rule rewrites its updates"),
    "rule beside": (["CREATE RULE no AS ON UPDATE TO t DO ALSO NOTIFY x"], "a rule rewrites its updates"),
}
UNSET["takes back at the end"][0][1] = UNSET["takes back at the end"][0][1].replace(
    " FOR EACH", " DEFERRABLE INITIALLY DEFERRED FOR EACH"
)


@pytest.mark.parametrize(("statements", "match"), UNSET.values(), ids=UNSET)
def test_rows_that_do_not_keep_their_values_are_an_error(statements: list[str], match: str, plain: Engine) -> None:
    execute(plain, *statements)
    refuse(plain, match)


def test_triggers_that_keep_values_are_accepted(plain: Engine) -> None:
    execute(plain, *trigger("NEW.p := 0; RETURN NEW;"), "CREATE TABLE log (id int)")
    execute(
        plain,
        "CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NULL; END'",
        "CREATE TRIGGER logger AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION logs()",
    )
    with operating(plain) as op:
        op.backfill("t", {"x": 1}, "x IS NULL", batch_size=300)
    assert (count(plain, "x = 1 AND p = 0"), count(plain, "true", "log")) == (1000, 1000)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("v", "it is a view"),
        ("m", "it is a materialized view"),
        ("s", "it is a sequence"),
        ("nothing", "There is no table"),
    ],
)
def test_another_relation_than_a_table_is_refused(name: str, match: str, plain: Engine) -> None:
    execute(plain, "CREATE VIEW v AS SELECT * FROM t", "CREATE MATERIALIZED VIEW m AS TABLE t", "CREATE SEQUENCE s")
    refuse(plain, match, name, {"x": 1}, "x IS NULL")


def make_parts(engine: Engine) -> None:
    execute(
        engine,
        "CREATE TABLE parts (id int, wide text, x int) PARTITION BY LIST (id)",
        "CREATE TABLE elder (id int, wide text, x int)",
        *(f"CREATE TABLE parts_{number} PARTITION OF parts FOR VALUES IN ({number})" for number in range(14)),
        "CREATE TABLE heir () INHERITS (elder)",
        *(
            f"INSERT INTO {into} SELECT n % 14, repeat('w', 40 * (n % 14)), NULL FROM generate_series(1, 2800) n"
            for into in ("parts", "elder", "heir")
        ),
    )


@pytest.mark.parametrize(("table", "rows"), [("parts", 2800), ("elder", 5600)])
def test_batch_size_holds_in_partitioned_and_inherited_tables(table: str, rows: int, plain: Engine) -> None:
    make_parts(plain)
    sizes: list[int] = []

    def look(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(f"UPDATE {table}"):
            sizes.append(cursor.rowcount)

    with operating(plain) as op:
        event.listen(op.get_bind(), "after_cursor_execute", look)
        op.backfill(table, {"x": 1}, "x IS NULL", batch_size=100)
    assert sizes == [100] * (rows // 100)
    assert count(plain, "x = 1", table) == rows


def test_rows_move_to_the_partition_of_their_new_values(plain: Engine) -> None:
    make_parts(plain)
    with operating(plain) as op:
        op.backfill("parts", {"id": sa.column("id") - 7, "x": 1}, "x IS NULL AND id > 6", batch_size=90)
    assert (count(plain, "id < 7", "parts"), count(plain, "x = 1", "parts_0")) == (2800, 200)


def test_rows_that_move_while_a_backfill_runs_are_found(plain: Engine) -> None:
    with plain.connect() as other, operating(plain) as op:
        moved: list[Any] = []

        def move(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE t SET x") and len(moved) < 5:
                # Some of the remaining rows move to pages that the backfill has passed, or behind it.
                moved.append(other.exec_driver_sql("UPDATE t SET p = p WHERE id IN (990, 991, 992) AND x IS NULL"))
                other.exec_driver_sql("INSERT INTO t (id) SELECT 2000 + max(id) FROM t")
                other.commit()

        event.listen(op.get_bind(), "after_cursor_execute", move)
        op.backfill("t", {"x": 1}, "x IS NULL", batch_size=150)
    assert len(moved) == 5
    assert count(plain, "x = 1 AND id <= 1000") == 1000


def test_a_row_that_moves_repeatedly_is_set(plain: Engine) -> None:
    with plain.connect() as other, operating(plain) as op:

        def move(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("SELECT CAST(t.tableoid") and "FOR NO KEY UPDATE" not in statement:
                other.exec_driver_sql("UPDATE t SET p = p WHERE id = 500 AND x IS NULL")
                other.commit()

        event.listen(op.get_bind(), "after_cursor_execute", move)
        op.backfill("t", {"x": 1}, "x IS NULL", batch_size=150)
    assert count(plain, "x = 1") == 1000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_backfill_ends_while_rows_are_added(size: int, plain: Engine) -> None:
    with plain.connect() as other, operating(plain) as op:

        def add(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            # A row for each statement, so that every query finds one.
            if "t.tableoid" in statement:
                other.exec_driver_sql("INSERT INTO t (id) SELECT 1 + max(id) FROM t")
                other.commit()

        event.listen(op.get_bind(), "after_cursor_execute", add)
        op.backfill("t", {"x": 1}, "x IS NULL AND (id <= 20 OR id > 1000)", batch_size=size)
    assert count(plain, "x IS NULL AND id <= 20") == 0


@pytest.mark.all_cases
def test_a_backfill_ends_while_others_write_continuously(plain: Engine) -> None:
    execute(plain, "INSERT INTO t SELECT n, NULL, 1 FROM generate_series(1001, 50000) n")
    stop = Event()

    def write() -> None:
        number = 100_000
        with plain.connect() as connection:
            while not stop.is_set():
                number += 1
                connection.exec_driver_sql("INSERT INTO t (id) VALUES (%s)", (number,))
                connection.exec_driver_sql("UPDATE t SET p = p + 1 WHERE id = %s", (number % 50_000,))
                connection.commit()
                stop.wait(0.001)

    writer = Thread(target=write)
    writer.start()
    try:
        with operating(plain) as op:
            op.backfill("t", {"x": 1}, "x IS NULL", batch_size=1000)
    finally:
        stop.set()
        writer.join()
    assert count(plain, "x IS NULL AND id <= 50000") == 0


def test_null_in_a_required_column_is_reported(plain: Engine) -> None:
    y = sa.Column("y", sa.Integer, nullable=False)
    with (
        pytest.raises(ConfigurationError, match="y may not be NULL, but value= is NULL .* id = 1000"),
        operating(plain) as op,
    ):
        op.add_required_column("t", y, sa.func.nullif(sa.column("id"), 1000), batch_size=10)
    assert count(plain, "y IS NULL") == 1000
    with operating(plain) as op:
        op.add_required_column("t", y, sa.func.coalesce(sa.func.nullif(sa.column("id"), 1000), 0), batch_size=10)
    assert count(plain, "y = id % 1000".replace("%", "%%")) == 1000


@pytest.mark.parametrize(
    ("type_", "value", "where"),
    [
        (JSONB(), {"a": [1]}, """y = '{"a": [1]}'"""),
        (sa.ARRAY(sa.Integer), [1, 2], "y = '{1,2}'"),
        (sa.Enum("a", "b", name="ab"), "b", "y = 'b'"),
        (sa.Interval(), sa.text("make_interval(days => t.id)"), "y = make_interval(days => id)"),
        (sa.Integer(), sa.select(sa.func.count()).where(OTHERS.c.id < T.c.id).scalar_subquery(), "y = id - 1"),
    ],
)
def test_a_required_column_takes_values_of_its_type(type_: Any, value: Any, where: str, plain: Engine) -> None:
    if isinstance(type_, sa.Enum):
        execute(plain, "CREATE TYPE ab AS ENUM ('a', 'b')")
    with operating(plain) as op:
        op.add_required_column("t", sa.Column("y", type_, nullable=False), value, batch_size=300)
    assert count(plain, where) == 1000


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1.5}, {"pause": -1}, {"pause": float("inf")}])
def test_a_required_column_with_wrong_arguments_is_not_added(options: Any, plain: Engine) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=next(iter(options))), operating(plain) as op:
        op.add_required_column("t", sa.Column("y", sa.Integer, nullable=False), 1, **options)
    assert [column["name"] for column in sa.inspect(plain).get_columns("t")] == ["id", "x", "p"]


TENANT = """
op.create_table("note", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer), schema="tenant")
op.create_table("item", sa.Column("id", sa.Integer), sa.Column("note_id", sa.Integer), schema="tenant")
op.execute("INSERT INTO note SELECT generate_series(1, 30)")
op.execute("INSERT INTO item SELECT n, 1 + n % 3 FROM generate_series(1, 9) n")
"""

WAYS = {
    "a correlated subquery": """
        note = sa.table("note", sa.column("id"), sa.column("n"), schema="tenant")
        item = sa.table("item", sa.column("note_id"), schema="tenant")
        value = sa.select(sa.func.count()).select_from(item).where(item.c.note_id == note.c.id).scalar_subquery()
        op.backfill("note", {"n": value}, note.c.n.is_(None), schema="tenant", batch_size=7)
    """,
    "without the schema": """
        note = sa.table("note", sa.column("id"), sa.column("n"))
        item = sa.table("item", sa.column("note_id"))
        value = sa.select(sa.func.count()).select_from(item).where(item.c.note_id == note.c.id).scalar_subquery()
        op.backfill("note", {"n": value}, note.c.n.is_(None), schema="tenant", batch_size=7)
    """,
    "declared tables": """
        metadata = sa.MetaData(schema="tenant")
        note = sa.Table("note", metadata, sa.Column("id", sa.Integer), sa.Column("n", sa.Integer))
        item = sa.Table("item", metadata, sa.Column("id", sa.Integer), sa.Column("note_id", sa.Integer))
        value = sa.select(sa.func.count(item.c.id)).where(item.c.note_id == note.c.id).scalar_subquery()
        op.backfill(note, {note.c.n: value}, note.c.n.is_(None), batch_size=7)
    """,
    "a join": """
        note = sa.table("note", sa.column("id"), sa.column("n"), schema="tenant")
        item = sa.table("item", sa.column("note_id"), schema="tenant")
        op.backfill(note, {"n": 3}, sa.and_(note.c.n.is_(None), item.c.note_id == note.c.id), batch_size=7)
        op.backfill(note, {"n": 0}, note.c.n.is_(None), batch_size=7)
    """,
    "text": """
        op.backfill("note", {"n": sa.text("(SELECT count(*) FROM item WHERE note_id = note.id)")}, sa.text("n IS NULL"),
            schema="tenant", batch_size=7)
    """,
}


@pytest.mark.some_values(way=4)
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_in_a_tenant_each_row_gets_its_own_value(
    way: str, jobs: int, environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    environment.add("one", TENANT)
    tenancy = migrated_tenancy()
    tenancy.create("acme")
    environment.add("two", way)
    migrate(migrated_tenancy(), jobs=jobs)
    migrated_tenancy().create("globex")
    for schema in ("t_acme", "t_globex"):
        with engine.connect() as connection:
            found = connection.exec_driver_sql(f"SELECT n, count(*) FROM {schema}.note GROUP BY n ORDER BY n")
            assert [tuple(row) for row in found] == [(0, 27), (3, 3)]


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_refusal_names_the_tenant(
    jobs: int, environment: Environment, migrated_tenancy: Callable[..., Tenancy], engine: Engine
) -> None:
    environment.add("one", TENANT)
    migrated_tenancy().create("acme")
    execute(engine, "CREATE RULE no AS ON UPDATE TO t_acme.note DO INSTEAD NOTHING")
    environment.add("two", 'op.backfill("note", {"n": 1}, "n IS NULL", schema="tenant")')
    with pytest.raises(MigrationError, match="acme: The rows of t_acme.note cannot be set in batches: a rule rewrites"):
        migrate(migrated_tenancy(), jobs=jobs)
