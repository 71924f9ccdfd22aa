"""Revisions that are replayed, and revisions that are not, have the same result."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import MigrationReport, Progress, downgrade, migrate, preview
from tests.migrations.environments import Environment
from tests.migrations.shapes import rows, shape

Make = Callable[..., Tenancy]

BASE = """
op.create_table("a", sa.Column("x", sa.Integer, primary_key=True), sa.Column("t", sa.Text), schema="tenant")
op.execute("INSERT INTO a VALUES (1, 'one')")
"""
ADD = 'op.add_column("a", sa.Column("y", sa.Integer), schema="tenant")'
CHILD = """
x = sa.Column("x", sa.Integer, sa.ForeignKey("tenant.a.x", deferrable=True))
op.create_table("child", x, schema="tenant")
"""


@pytest.fixture(scope="session")
def fleet_template(make_fleet: Callable[..., str]) -> str:
    return make_fleet(BASE, tuple(f"k{number}" for number in range(5)))


@pytest.fixture
def fleet(environment: Environment, migrated_tenancy: Make) -> Make:
    """Make tenancies of five tenants at revision base; a test adds further revisions."""
    environment.add("one", BASE)
    return migrated_tenancy


def engines(report: MigrationReport) -> dict[str, str | None]:
    return {outcome.key: outcome.engine for outcome in report.outcomes}


def looks(engine: Engine) -> list[Any]:
    """Return the objects and rows of each tenant's schema, including versions."""
    with engine.connect() as connection:
        return [(shape(connection, f"t_k{number}"), rows(connection, f"t_k{number}")) for number in range(5)]


REPLAYED = {"k0": "alembic", "k1": "alembic", "k2": "replay", "k3": "replay", "k4": "replay"}
BY_ALEMBIC = dict.fromkeys(REPLAYED, "alembic")


def test_the_first_two_rehearse_and_the_others_are_replayed(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    environment.add("three", 'op.create_index("ix", "a", ["y"], schema="tenant")')
    report = migrate(fleet(), jobs=2)
    assert engines(report) == REPLAYED
    assert report.not_replayed == {}
    first, *others = looks(engine)
    assert others == [first] * 4
    assert "column a.y integer " in first[0]
    assert first[1]["alembic_version"] == ["(three)"]


MANY_COLUMNS = """
op.create_table("b c", sa.Column("x", sa.Integer, primary_key=True), schema="tenant")
op.execute("ALTER TABLE a ADD COLUMN own text DEFAULT 'x'; -- a text of one's own is left alone")
op.add_column("a", sa.Column("one", sa.Integer, server_default=sa.text("1 + 1"), nullable=False), schema="tenant")
op.add_column("a", sa.Column("cents", sa.Integer, server_default=sa.text("0 -- cents")), schema="tenant")
op.add_column("a", sa.Column("two", sa.Text, server_default="it's, ADD COLUMN"), schema="tenant")
op.add_column("a", sa.Column("three", postgresql.ARRAY(sa.Numeric(10, 2)), comment="III"), schema="tenant")
op.add_column("a", sa.Column("four", sa.Enum("p", "q", name="pq", schema="tenant")), schema="tenant")
op.add_column("a", sa.Column("five", sa.Integer, sa.Computed("one + x", persisted=True)), schema="tenant")
op.add_column("a", sa.Column("six", sa.Integer, sa.ForeignKey("tenant.a.x")), schema="tenant")
op.add_column("a", sa.Column("seven", sa.BigInteger, sa.Identity()), schema="tenant")
op.add_column("b c", sa.Column("e f", sa.Integer), schema="tenant")
op.add_column("b c", sa.Column('g"h', sa.Integer, index=True), schema="tenant")
op.add_column("b c", sa.Column("i", sa.Integer), schema="tenant")
op.add_column("a", sa.Column("eight", sa.Text, server_default=sa.text("lower('X')")), schema="tenant")
op.add_column("a", sa.Column("nine", sa.Integer), schema="tenant")
"""


def test_each_column_is_added_by_the_statement_that_alembic_sent(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", MANY_COLUMNS)
    (group,) = preview(fleet(), scripts=True).groups
    assert group.rehearsal is not None
    script = group.rehearsal.script or ""
    added = [statement for statement in script.split("\n;\n") if "ADD COLUMN" in statement]
    assert [statement.count("ADD COLUMN ") for statement in added] == [1] * 14
    assert engines(migrate(fleet(), jobs=2)) == REPLAYED
    first, *others = looks(engine)
    assert others == [first] * 4


NASTY = r"""
op.create_table(
    "n",
    sa.Column("i", sa.BigInteger, primary_key=True), sa.Column("t", sa.Text), sa.Column("f", sa.Float),
    sa.Column("d", sa.Numeric), sa.Column("j", postgresql.JSONB), sa.Column("b", sa.LargeBinary),
    sa.Column("w", sa.DateTime(timezone=True)), sa.Column("u", sa.Uuid), sa.Column("a", postgresql.ARRAY(sa.Text)),
    schema="tenant",
)
import datetime, decimal, uuid
declared = sa.Table("n", sa.MetaData(), schema="tenant", *[
    sa.Column("i", sa.BigInteger), sa.Column("t", sa.Text), sa.Column("f", sa.Float), sa.Column("d", sa.Numeric),
    sa.Column("j", postgresql.JSONB), sa.Column("b", sa.LargeBinary), sa.Column("w", sa.DateTime(timezone=True)),
    sa.Column("u", sa.Uuid), sa.Column("a", postgresql.ARRAY(sa.Text)),
])
op.bulk_insert(declared, [
    {"i": 1, "t": "it's; -- 100% \\ \n $tenantkit$ {x} %(y)s :z \"tenant\" é", "f": 0.1 + 0.2, "d": decimal.Decimal("1.10"),
     "j": {"a": [1, None, "x'%"]}, "b": b"\x00\xff'\\", "w": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
     "u": uuid.UUID(int=7), "a": ["a,b", '"', "{}"]},
    {"i": -2**40, "t": None, "f": float("inf"), "d": decimal.Decimal("NaN"), "j": None, "b": b"", "w": None, "u": None, "a": []},
])
op.execute(sa.update(declared).where(declared.c.i == 1).values(f=declared.c.f * 2.5))
op.execute("UPDATE n SET t = t || '%' WHERE t LIKE 'it%' -- a comment at the end")
op.execute(sa.text("INSERT INTO n (i, t) VALUES (:i, :t)").bindparams(i=5, t="a:b"))
op.execute("CREATE TABLE s (id serial, half int)")
op.execute("SELECT setval('s_id_seq', 42)")
op.execute(sa.text("INSERT INTO s (half) SELECT 5 * CAST(:f AS float8)").bindparams(f=0.5))
op.execute("INSERT INTO s (half) VALUES (1)")
"""


def test_values_of_every_kind_are_replayed_unchanged(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", NASTY)
    assert engines(migrate(fleet(), jobs=2)) == REPLAYED
    first, *others = looks(engine)
    assert others == [first] * 4
    assert len(first[1]["n"]) == 3
    assert first[1]["s"] == ["(43,2)", "(44,1)"]


def test_a_search_path_of_a_revision_ends_with_it(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", 'op.execute("SET LOCAL search_path = public")')
    environment.add("three", 'op.execute("CREATE TABLE here ()")')
    assert engines(migrate(fleet(), jobs=1)) == REPLAYED
    with engine.connect() as connection:
        assert connection.execute(text("SELECT to_regclass('public.here')")).scalar() is None
        assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE tablename = 'here'")).scalar() == 5


NOT_REPLAYED = {
    "reads": ('n = op.get_bind().execute(sa.text("SELECT 1")).scalar(); op.execute(f"CREATE TABLE b AS SELECT {n} AS n")', "itself"),
    "inspects": ('sa.inspect(op.get_bind()).get_table_names(); op.execute("CREATE TABLE b ()")', "itself"),
    "reads through the context": ('op.get_context().connection.exec_driver_sql("CREATE TABLE b ()")', "itself"),
    "writes by the connection": ('op.get_bind().exec_driver_sql("CREATE TABLE b ()")', "itself"),
    "knows its schema": ('op.execute(f\'CREATE TABLE "{op.get_context().version_table_schema}".b ()\')', "asks for its schema"),
    "chance": ('import uuid; op.execute(f"CREATE TABLE b AS SELECT \'{uuid.uuid4()}\'::text AS n")', "the same"),
    "the time": ('import time; op.execute(f"CREATE TABLE b AS SELECT {time.time_ns()} AS n")', "the same"),
    "counts": ('import sys; sys.tk = getattr(sys, "tk", 0) + 1; op.execute(f"CREATE TABLE b AS SELECT {sys.tk} AS n")', "the same"),
    "keeps the name of its schema": ('b = op.get_bind(); s = b.schema_for_object(sa.Table("a", sa.MetaData(), schema="tenant")); op.execute(f"CREATE TABLE b AS SELECT \'in {s}\'::text AS n")', "as a value"),
    "a batch that reflects": ('batch = op.batch_alter_table("a", schema="tenant", recreate="always")\nwith batch as b: b.add_column(sa.Column("z", sa.Text))\nop.execute("CREATE TABLE b ()")', "itself"),
}  # fmt: skip


@pytest.mark.some_values(case=6)
@pytest.mark.parametrize("case", NOT_REPLAYED)
def test_revisions_that_depend_on_the_database_or_on_chance_are_not_replayed(
    case: str, fleet: Make, environment: Environment, engine: Engine
) -> None:
    code, why = NOT_REPLAYED[case]
    environment.add("two", code)
    report = migrate(fleet(), jobs=1)
    assert engines(report) == BY_ALEMBIC
    ((reason, count),) = report.not_replayed.items()
    assert why in reason
    assert count in {3, 4}
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE tablename = 'b'")).scalar() == 5
    assert "TK_" not in str(looks(engine))


def test_the_engine_can_be_chosen(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", ADD)
    assert engines(migrate(fleet(), engine="alembic", jobs=1)) == BY_ALEMBIC
    environment.add("three", NOT_REPLAYED["chance"][0])
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), engine="replay", jobs=1)
    assert {outcome.key for outcome in caught.value.report.failures} == {"k2", "k3", "k4"}
    assert "cannot be replayed: revision three does not send the same" in (caught.value.report.failures[0].error or "")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE tablename = 'b'")).scalar() == 2


def test_a_hook_of_the_environment_is_called_for_each_tenant(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    env = environment.folder / "env.py"
    hook = "lambda ctx, **_: ctx.connection.exec_driver_sql('CREATE TABLE hooked ()')"
    env.write_text(env.read_text().replace("run_environment()", f"run_environment(on_version_apply={hook})"))
    report = migrate(fleet(), jobs=1)
    assert engines(report) == BY_ALEMBIC
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE tablename = 'hooked'")).scalar() == 5


def test_a_tenant_that_differs_is_left_to_alembic(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add(
        "two", 'op.add_column("a", sa.Column("m", sa.Enum("x", name="mood", schema="tenant")), schema="tenant")'
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TYPE t_k3.mood AS ENUM ('x')")  # Alembic checks, a script cannot
        connection.exec_driver_sql("DROP TABLE t_k4.a")
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), jobs=1)
    report = caught.value.report
    assert engines(report) == {**REPLAYED, "k3": "alembic", "k4": "alembic"}
    assert [(outcome.key, outcome.sqlstate) for outcome in report.failures] == [("k4", "42P01")]
    found = looks(engine)
    assert found[0] == found[1] == found[2] == found[3]
    assert found[4][1]["alembic_version"] == ["(one)"]


def test_steps_outside_of_a_transaction_are_last_one_tenant_after_another(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    environment.add(
        "three",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "a", ["y"], schema="tenant", postgresql_concurrently=True)
        """,
    )
    environment.add("four", "op.execute('CREATE TABLE last AS SELECT clock_timestamp() AS at')")
    report = migrate(fleet(), jobs=4)
    assert engines(report) == BY_ALEMBIC
    first, *others = looks(engine)
    assert "index CREATE INDEX ix ON ~.a USING btree (y)true" in first[0]
    assert [shape for shape, _ in others] == [first[0]] * 4
    assert all(found["alembic_version"] == ["(four)"] for _, found in others)


def test_a_downgrade_is_replayed_too(fleet: Make, environment: Environment, engine: Engine) -> None:
    before = looks(engine)
    environment.add("two", ADD, 'op.drop_column("a", "y", schema="tenant")')
    migrate(fleet(), jobs=2)
    assert engines(downgrade(fleet(), "-1", jobs=2)) == REPLAYED
    assert looks(engine) == before


def test_locks_on_shared_tables_are_taken_by_one_tenant_at_a_time(
    fleet: Make, environment: Environment, engine: Engine
) -> None:
    code = """
    op.add_column("a", sa.Column("c", sa.Text, sa.ForeignKey("shared.country.code")), schema="tenant")
    op.execute("CREATE TABLE held AS SELECT clock_timestamp() AS began, NULL::timestamptz AS ended")
    op.execute("SELECT pg_sleep(0.1)")
    op.execute("UPDATE held SET ended = clock_timestamp()")
    """
    environment.add("two", code)
    report = migrate(fleet(), jobs=4)
    assert engines(report) == REPLAYED
    assert {outcome.attempts for outcome in report.outcomes} == {1}
    query = " UNION ALL ".join(f"SELECT began, ended FROM t_k{number}.held" for number in range(5))
    with engine.connect() as connection:
        times = sorted(tuple(row) for row in connection.exec_driver_sql(query))
    assert all(ended < began for (_, ended), (began, _) in pairwise(times))


def test_a_blocking_lock_is_waited_for_and_reported(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", ADD)
    with engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE t_k3.a")
        with pytest.raises(MigrationError) as caught:
            migrate(fleet(), jobs=2, lock_timeout="20ms")
    (failure,) = caught.value.report.failures
    assert (failure.key, failure.sqlstate, failure.attempts) == ("k3", "55P03", 8)
    report = migrate(fleet(), jobs=2)
    assert engines(report) == {"k3": "alembic"}
    first, *others = looks(engine)
    assert others == [first] * 4


WAYS_TO_FAIL = {
    "lock": "SELECT pg_advisory_xact_lock(hashtext(current_schema()))",
    "row": "SELECT 1 / (SELECT count(*) FROM a WHERE t = 'one')",
    "commit": "SET CONSTRAINTS ALL DEFERRED; INSERT INTO child SELECT 9 FROM a WHERE t = 'odd'",
}


@pytest.mark.all_cases
@pytest.mark.some_values(way=3)
@pytest.mark.parametrize(
    ("way", "revision", "named"),
    [
        ("lock", "three", "three"),
        ("lock", "four", "four"),
        ("row", "three", "three"),
        ("row", "four", "four"),
        ("commit", "three", "three to four"),
    ],
)
def test_the_revision_of_a_script_that_fails_is_named(
    way: str, revision: str, named: str, fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", CHILD)
    migrate(fleet())
    for each in ("three", "four"):
        environment.add(each, f'op.execute("{WAYS_TO_FAIL[way] if each == revision else "SELECT 1"}")')
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t_k3.a SET t = 'odd'")
    with engine.connect() as holder:
        holder.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('t_k3'))")
        with pytest.raises(MigrationError) as caught:
            migrate(fleet(), jobs=2, lock_timeout="20ms", engine="auto" if way == "lock" else "replay")
    (failure,) = caught.value.report.failures
    assert (failure.key, failure.engine, failure.revision) == ("k3", None if way == "lock" else "replay", named)
    assert (failure.file or "").endswith(f"{named}.py") == (named == revision)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t_k3.a SET t = 'one'")
    migrate(fleet(), jobs=2)
    first, *others = looks(engine)
    assert others == [first] * 4


@pytest.mark.all_cases
@pytest.mark.parametrize("chosen", ["auto", "alembic"])
def test_time_limits_hold_with_each_engine(chosen: Any, fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", "op.execute(\"SELECT pg_sleep(20) WHERE current_schema() IN ('t_k1', 't_k4')\")")
    with pytest.raises(MigrationError) as caught:
        migrate(fleet(), jobs=1, engine=chosen, statement_timeout="1s")
    assert {(failure.key, failure.sqlstate) for failure in caught.value.report.failures} == {
        ("k1", "57014"),
        ("k4", "57014"),
    }
    environment.add("three", "op.execute(\"CREATE TABLE limits AS SELECT current_setting('lock_timeout') AS waits\")")
    migrate(fleet(), tenants=["k0", "k2", "k3"], jobs=1, engine=chosen, lock_timeout="7s")
    with engine.connect() as connection:
        for key in ("k0", "k2", "k3"):
            assert connection.exec_driver_sql(f"SELECT waits FROM t_{key}.limits").scalar() == "7s"


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_wrong_limit_is_refused_before_anything_is_done(
    limit: Any, fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    before = looks(engine)
    with pytest.raises(ConfigurationError, match=f"{limit}='soon' is no length of time"):
        migrate(fleet(), jobs=2, **{limit: "soon"})
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tenantkit.runs").scalar() == 0
    assert looks(engine) == before


def test_the_ledger_has_the_engine_of_each_outcome(fleet: Make, environment: Environment, engine: Engine) -> None:
    environment.add("two", ADD)
    report = migrate(fleet(), jobs=2)
    query = "SELECT key, o.status, engine, from_revision, to_revision, attempts FROM tenantkit.outcomes o JOIN tenantkit.tenants t ON t.id = tenant_id WHERE run_id = %s"
    with engine.connect() as connection:
        found = {row.key: tuple(row)[1:] for row in connection.exec_driver_sql(query, (report.run_id,))}
    assert found == {key: ("done", name, "one", "two", 1) for key, name in REPLAYED.items()}


class Meanwhile(Progress):
    """Calls a function between the plan of a run and its execution."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def started(self, _total: int) -> None:
        self._action()


@pytest.mark.parametrize("name", ["auto", "alembic"])
@pytest.mark.parametrize("target", ["head", "+1", "two"])
def test_a_migration_by_another_run_is_neither_repeated_nor_reported(
    target: str, name: Any, fleet: Make, environment: Environment, engine: Engine
) -> None:
    environment.add("two", ADD)
    others = ["k0", "k3", "k4"]
    if target != "head":
        environment.add("three", 'op.create_index("ix", "a", ["y"], schema="tenant")')
    first = Meanwhile(lambda: migrate(fleet(), target, tenants=others, jobs=1))
    report = migrate(fleet(), target, jobs=1, engine=name, progress=first)
    assert sorted(outcome.key for outcome in report.outcomes) == ["k1", "k2"]
    assert report.unchanged == 3
    look, *more = looks(engine)
    assert more == [look] * 4
    assert look[1]["alembic_version"] == ["(two)"]
    query = (
        "SELECT key, o.status FROM tenantkit.outcomes o JOIN tenantkit.tenants t ON t.id = tenant_id WHERE run_id = %s"
    )
    with engine.connect() as connection:
        found = dict(tuple(row) for row in connection.exec_driver_sql(query, (report.run_id,)))
    assert found == {"k1": "done", "k2": "done", **dict.fromkeys(others, "unchanged")}
