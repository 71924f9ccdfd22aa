"""Changes of every kind of table and value are followed while a tenant is moved, by a login that is no superuser."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import URL, create_engine

from tenantkit import Tenancy, Tenant, transfer
from tenantkit.transfer.following import Follower
from tests.drift.conftest import in_schema, run_script
from tests.support.generated import examples
from tests.transfer.test_kinds import KINDS, ROWS, busy
from tests.transfer.whole import whole

FOLLOWED = """
ALTER TABLE claim DROP CONSTRAINT IF EXISTS to_shared;
DROP INDEX ux_kinds_u;
ALTER TABLE cache SET LOGGED;
ALTER TABLE person ENABLE TRIGGER always;
DROP TABLE base CASCADE;
CREATE TABLE base (name text, id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE derived (extra integer, PRIMARY KEY (id)) INHERITS (base);
ALTER TABLE of_event ADD number integer GENERATED ALWAYS AS IDENTITY, ADD UNIQUE (number),
    REPLICA IDENTITY USING INDEX of_event_number_key;
DROP TABLE nothing;
CREATE TABLE counted (id integer PRIMARY KEY, number integer GENERATED ALWAYS AS IDENTITY, large text);
CREATE TABLE unique_later (id integer PRIMARY KEY, place integer UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
CREATE TABLE just_a_key (found integer PRIMARY KEY);
CREATE TABLE only_large (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, large text);
"""
"""What lets the changes of every kind of table be followed, and further kinds."""

VALUES = (
    "c, cs, d, p, ps, r, m, j, jb, n, ns, f, b, t, ch, v, bits, ts, tz, day, clock, span, u, i, mac, x, money, geo, "
    'flag, name, o, "Wéird ""name"" %s"'
)
MEANWHILE = (
    # Every kind of value is inserted, and replaces another kind of value.
    f"INSERT INTO kinds ({VALUES}) SELECT {VALUES} FROM kinds WHERE id IN (1, 2)",
    f"UPDATE kinds SET ({VALUES}) = (SELECT {VALUES} FROM kinds AS other WHERE other.id = 3 - kinds.id) WHERE id IN (1, 2)",
    "INSERT INTO kinds (t) SELECT string_agg(md5(n::text), '') FROM generate_series(1, 3000) AS n",
    # Large values that an update leaves as they were are not sent.
    "UPDATE kinds SET d = 9 WHERE length(t) > 1000",
    "UPDATE kinds SET id = DEFAULT WHERE length(t) = 96000 OR id = 2",
    "DELETE FROM kinds WHERE id IN (6, 7); UPDATE kinds SET f = 1.0::float8 / 3, tz = '2024-03-04 01:02+03' WHERE id = 8",
    # Triggers have changed the rows already, and actions of foreign keys are changes of their own.
    "INSERT INTO person (name) VALUES ('carl'), ('dora'); UPDATE person SET name = 'lower' WHERE name = 'CARL'",
    "INSERT INTO team (lead) VALUES (3), (4); UPDATE team SET id = id + 1 WHERE lead > 2; DELETE FROM person WHERE id = 4",
    "INSERT INTO claim VALUES (3, 'nowhere'); DELETE FROM claim WHERE id = 1",
    # Rows go from one partition to another.
    "INSERT INTO events VALUES ('2024-06-01', 'a', 4), ('1998-01-01', 'c', 5)",
    "UPDATE events SET kind = 'a' WHERE id = 3; UPDATE events SET at = '2025-01-01' WHERE id = 5",
    "UPDATE events SET kind = 'z', at = '2001-01-01' WHERE id = 1",
    "UPDATE base SET name = 'again'; INSERT INTO derived (name, extra, id) OVERRIDING SYSTEM VALUE VALUES ('x', 2, 90)",
    "DELETE FROM ONLY base WHERE name = 'again' AND id = 1",
    "INSERT INTO secret VALUES (2, 'of another'); UPDATE secret SET owner = 'x' WHERE id = 1",
    (
        "INSERT INTO counted (id, large) SELECT n, random_text FROM generate_series(1, 3) AS n, "
        "(SELECT string_agg(md5(m::text), '') AS random_text FROM generate_series(1, 500) AS m) AS made"
    ),
    "UPDATE counted SET id = id + 10; UPDATE counted SET number = DEFAULT WHERE id = 12",
    "INSERT INTO unique_later VALUES (1, 1), (2, 2), (3, 3); UPDATE unique_later SET place = place % 3 + 1",
    "INSERT INTO just_a_key VALUES (1), (2); UPDATE just_a_key SET found = found; UPDATE just_a_key SET found = 5 - found",
    # Of two statements at once, one is undone; and a transaction as a whole.
    "SAVEPOINT s; DELETE FROM kinds; ROLLBACK TO s; INSERT INTO cache VALUES ('k4')",
    "INSERT INTO cache SELECT 'n' || n FROM generate_series(1, 3000) AS n",
    "SELECT nextval('ticket')",
)
AFTERWARDS = (
    "INSERT INTO only_large (large) SELECT string_agg(md5(n::text), '') FROM generate_series(1, 3000) AS n",
    "UPDATE only_large SET large = large",
    "TRUNCATE cache, of_event; INSERT INTO cache VALUES ('k2'), ('k3')",
    "UPDATE kinds SET t = t || 'x' WHERE t <> ''",
    "REFRESH MATERIALIZED VIEW busy",
)
"""What waits until no more rows are copied."""


SETTINGS = {
    "DateStyle": "ISO, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kolkata",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "idle_in_transaction_session_timeout": "2s",
}
"""Settings of a login that change how values are written and read, and what its connections survive."""


@pytest.fixture
def mover(owner: str, server_url: URL) -> Generator[str]:
    """The owner of the tables, with what a move needs, and unusual settings."""
    engine = create_engine(server_url)
    with engine.begin() as connection:
        if connection.exec_driver_sql("SHOW wal_level").scalar_one() != "logical":
            pytest.skip("the server under test has not wal_level = logical")
        connection.exec_driver_sql(f"ALTER ROLE {owner} REPLICATION")
        connection.exec_driver_sql(f"GRANT SET ON PARAMETER session_replication_role TO {owner}")
        for name, value in SETTINGS.items():
            connection.exec_driver_sql(f"ALTER ROLE {owner} SET {name} = '{value}'")
    yield owner
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER ROLE {owner} RESET ALL")
        connection.exec_driver_sql(f"REVOKE SET ON PARAMETER session_replication_role FROM {owner}")
    engine.dispose()


def move(
    tenancy: Tenancy, key: str, while_copied: Callable[[], object], afterwards: Callable[[], object], **where: Any
) -> Tenant:
    """Move a tenant, and do some work while its rows are copied, and some when they are, before the changes follow."""
    catch_up = Follower.catch_up

    def work_and_catch_up(self: Follower) -> None:
        afterwards()
        catch_up(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Follower, "catch_up", work_and_catch_up)
        return transfer.move(tenancy, key, progress=lambda *_: while_copied(), **where).tenant


def unequal(tenancy: Tenancy) -> list[str]:
    return [each.table for each in transfer.differences(tenancy, "acme", "acme-move") if not each.is_equal]


def structure(url: URL, schema: str) -> list[str]:
    """Return what a dump has besides rows and the fence."""
    found, is_rows = [], False
    for line in whole(url, schema):
        is_rows = (is_rows or line.startswith("COPY ")) and line != "\\."
        if not is_rows and "tenantkit_fence" not in line and line != "\\.":
            found.append(line)
    return found


@pytest.mark.usefixtures("mover")
def test_every_kind_of_change_is_followed(make_owned: Callable[[str], Tenancy], owned: URL) -> None:
    tenancy = make_owned(KINDS + FOLLOWED)
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", ROWS.replace("INSERT INTO nothing DEFAULT VALUES;", "")))
    assert "while reads and writes go on" in transfer.move(tenancy, "acme", isolation="database", dry_run=True).steps[1]

    def work(url: URL, schema: str, statements: Iterable[str]) -> Callable[[], None]:
        waiting = [*statements]

        def execute() -> None:
            while waiting:
                run_script(url, in_schema(schema, waiting.pop(0)))

        return execute

    here = owned, "t_acme"
    moved = move(tenancy, "acme", work(*here, MEANWHILE), work(*here, AFTERWARDS), isolation="database")
    there = owned.set(database=tenancy.databases.engine(moved.placement.database).url.database), moved.schema
    assert unequal(tenancy) == []
    assert structure(*there) == structure(*here)
    assert busy(*there) == busy(*here)
    move(tenancy, "acme", work(*there, MEANWHILE[:4]), work(*there, AFTERWARDS), back=True)
    assert unequal(tenancy) == []
    assert structure(*there) == structure(*here)
    assert busy(*there) == busy(*here)
    transfer.finish_move(tenancy, "acme")
    assert tenancy.diagnose() == []


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["\\", "\\N", "'", "$x$", "%s", ":a", "\n\t\r", '"']
)


@st.composite
def changes(draw: st.DrawFn) -> str:
    """Return a transaction that may undo a part of itself, or all."""
    statements = []
    for _ in range(draw(st.integers(1, 4))):
        one, other = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        value = draw(TEXTS).replace("'", "''")
        statements.append(
            draw(
                st.sampled_from(
                    [
                        f"INSERT INTO any_text VALUES ({one}, '{value}', '{value}') ON CONFLICT DO NOTHING",
                        f"UPDATE any_text SET a = '{value}' WHERE id = {one}",
                        f"UPDATE any_text SET b = left('{value}', {other}), c = NULL WHERE id > {one}",
                        f"UPDATE any_text SET id = id + 5 * {one}, c = id WHERE id = {other}",
                        f"UPDATE any_text SET id = -id WHERE NOT EXISTS (SELECT FROM any_text WHERE id < {-other})",
                        f"DELETE FROM any_text WHERE id % {other} = 0",
                        "TRUNCATE any_text",
                        f"INSERT INTO any_text SELECT {100 * one} + n FROM generate_series(1, 20) n ON CONFLICT DO NOTHING",
                    ]
                )
            )
        )
        if draw(st.integers(0, 4)) == 0:
            statements += ["ROLLBACK TO s"]
        statements += ["SAVEPOINT s"]
    return f"SAVEPOINT s; {'; '.join(statements)}; {draw(st.sampled_from(['SELECT 1'] * 4 + ['ROLLBACK; BEGIN']))}"


_numbers = count()


@pytest.fixture
def texts(make_owned: Callable[[str], Tenancy]) -> Tenancy:
    return make_owned("CREATE TABLE any_text (id integer PRIMARY KEY, a text, b varchar, c numeric(8, 2))")


@pytest.mark.usefixtures("mover")
@examples(2, 80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(before=st.lists(changes(), max_size=3), meanwhile=st.lists(changes(), min_size=1, max_size=12))
def test_any_changes_are_followed(texts: Tenancy, owned: URL, before: list[str], meanwhile: list[str]) -> None:
    key = f"k{next(_numbers)}"
    schema = texts.create(key).schema

    def execute(scripts: list[str]) -> None:
        for script in scripts:
            with suppress(psycopg.IntegrityError):
                run_script(owned, in_schema(schema, script))
        scripts.clear()

    execute(before)
    first = [each for each in meanwhile if "TRUNCATE" not in each]
    move(texts, key, lambda: execute(first), lambda: execute(meanwhile), isolation="database")
    assert first == meanwhile == []
    assert all(each.is_equal for each in transfer.differences(texts, key, f"{key}-move"))
    transfer.finish_move(texts, key)
    texts.drop(key)
