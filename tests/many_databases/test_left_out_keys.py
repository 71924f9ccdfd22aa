"""Foreign keys to shared tables: by models and by revisions, in the main database and in others."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, inspect, text

from tenantkit import ProvisioningError, Tenancy, drift, migrations, transfer
from tests.many_databases.library import APPLICATION
from tests.migrations.environments import Environment

SHARED = """
op.create_table("author", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String, nullable=False),
    schema="shared")
"""
TABLES = """
op.create_table("book", sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.String, nullable=False),
    sa.Column("author_id", sa.Integer{key}), schema="tenant")
op.create_table("copy", sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("book_id", sa.Integer, sa.ForeignKey("tenant.book.id"), nullable=False), schema="tenant")
"""
ADDED = 'op.{add}("book_author_id_fkey", "book", "author", ["author_id"], ["id"], source_schema="tenant", referent_schema="shared")'
DROPPED = 'op.drop_constraint("book_author_id_fkey", "book", schema="tenant")'
WAYS = {
    "in the table": [TABLES.format(key=', sa.ForeignKey("shared.author.id")')],
    "added": [TABLES.format(key=""), ADDED.format(add="create_foreign_key")],
    "added while the table is used": [TABLES.format(key=""), ADDED.format(add="create_foreign_key_concurrently")],
    "dropped and added": [
        TABLES.format(key=', sa.ForeignKey("shared.author.id")'),
        DROPPED,
        ADDED.format(add="create_foreign_key"),
    ],
    "with a new column": [
        TABLES.format(key=""),
        'op.drop_column("book", "author_id", schema="tenant")',
        'op.add_column("book", sa.Column("author_id", sa.Integer, sa.ForeignKey("shared.author.id")), schema="tenant")',
    ],
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    migrations.init(tmp_path / "migrations")
    return Environment(tmp_path / "migrations")


@pytest.fixture
def library(urls: tuple[URL, URL], environment: Environment) -> Generator[Tenancy]:
    environment.add("s1", SHARED, line="shared")
    with closing(
        Tenancy(dict(zip(("main", "eu"), urls, strict=True)), migrations=environment.folder, **APPLICATION)
    ) as tenancy:
        tenancy.install()
        yield tenancy


def _keys(library: Tenancy) -> dict[str, list[str]]:
    found = {}
    for tenant in library.list():
        inspector = inspect(library.databases.engine(tenant.placement.database))
        found[tenant.key] = [
            f"{table}.{key['name']}"
            for table in ("book", "copy")
            for key in inspector.get_foreign_keys(table, tenant.schema)
        ]
    return found


@pytest.mark.parametrize("revisions", WAYS.values(), ids=WAYS)
def test_keys_to_shared_tables_are_left_out_and_no_drift(
    library: Tenancy, environment: Environment, revisions: list[str]
) -> None:
    first, *later = revisions
    environment.add("t1", first)
    migrations.upgrade_shared(library)
    for number in range(3):
        library.create(f"m{number}")
        library.create(f"e{number}", database="eu")
    for number, revision in enumerate(later, 2):
        environment.add(f"t{number}", revision)
    if later:
        assert migrations.migrate(library).failures == ()
    for key, found in _keys(library).items():
        assert found == (["book.book_author_id_fkey"] if key.startswith("m") else []) + ["copy.copy_book_id_fkey"]
    for models in (False, True):
        report = drift.check(library, models=models)
        assert not report.has_drift, report
        assert [(group.tenants, group.alike) for group in report.groups] == [(6, 6)]
        assert report.left_out == ("book.author_id -> shared.author.id",)


@pytest.mark.all_cases
@pytest.mark.parametrize("models", [False, True])
@pytest.mark.parametrize("majority", ["main", "eu"])
def test_other_differences_are_drift_on_either_side(
    library: Tenancy, environment: Environment, models: bool, majority: str
) -> None:
    environment.add("t1", WAYS["in the table"][0])
    migrations.upgrade_shared(library)
    for number in range(4):
        for database in ("main", "eu"):
            if number < (4 if database == majority else 2):
                library.create(f"{database}{number}", database=database)
    change: dict[str, Any] = {
        "main0": "ALTER TABLE t_main0.book ADD COLUMN extra int",
        "eu0": "ALTER TABLE t_eu0.book ADD COLUMN extra int",
        "eu1": "ALTER TABLE t_eu1.copy DROP CONSTRAINT copy_book_id_fkey",
    }
    for key, statement in change.items():
        with library.databases.engine(library.get(key).placement.database).begin() as connection:
            connection.exec_driver_sql(statement)
    report = drift.check(library, models=models)
    assert sorted(key for odd in report.odd for key in odd.schemas) == ["eu0", "eu1", "main0"]
    for odd in report.odd:
        for key in odd.schemas:
            assert "author" not in odd.script(key)
            with library.databases.engine(library.get(key).placement.database).begin() as connection:
                connection.exec_driver_sql(
                    odd.script(key).replace("%", "%%").replace("BEGIN;", "").replace("COMMIT;", "")
                )
    assert not drift.check(library, models=models).has_drift


@pytest.mark.all_cases
def test_a_tenant_moves_without_them_and_returns_if_the_shared_rows_exist(
    library: Tenancy, environment: Environment
) -> None:
    environment.add("t1", WAYS["in the table"][0])
    migrations.upgrade_shared(library)
    library.create("acme")
    with library.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shared.author VALUES (1, 'Ada')")
        connection.exec_driver_sql("INSERT INTO t_acme.book VALUES (1, 'one', 1)")
    transfer.move(library, "acme", database="eu")
    assert _keys(library)["acme"] == ["copy.copy_book_id_fkey"]
    with library.databases.engine("eu").begin() as connection:
        connection.exec_driver_sql("INSERT INTO t_acme.book VALUES (2, 'two', 2)")
    for finish, said in ((False, "the table 'book' does not take the rows"), (True, "book_author_id_fkey")):
        if finish:
            transfer.finish_move(library, "acme")
        with pytest.raises(ProvisioningError, match=said):
            transfer.move(library, "acme", **({"database": "main"} if finish else {"back": True}))
        with library.databases.engine("eu").begin() as connection:  # it can be written to
            connection.exec_driver_sql("UPDATE t_acme.book SET title = 'three' WHERE id = 2")
    assert library.diagnose() == []
    with library.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shared.author VALUES (2, 'Bob')")
    assert transfer.move(library, "acme", database="main").rows == 2
    assert "book.book_author_id_fkey" in _keys(library)["acme"]


@pytest.mark.parametrize(
    ("author", "is_refused"), [(1, False), (None, False), (2, True)], ids=["shared row", "none", "nothing"]
)
def test_rows_that_are_written_meanwhile_refer_to_shared_rows_that_exist(
    library: Tenancy, environment: Environment, author: int | None, is_refused: bool
) -> None:
    environment.add("t1", WAYS["in the table"][0])
    migrations.upgrade_shared(library)
    library.create("acme", database="eu")
    with library.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shared.author VALUES (1, 'Ada')")
    waiting = ["INSERT INTO t_acme.book VALUES (1, 'one')", f"UPDATE t_acme.book SET author_id = {author or 'NULL'}"]

    def write(*_: object) -> None:
        while waiting:
            with library.databases.engine("eu").begin() as connection:
                connection.exec_driver_sql(waiting.pop(0))

    if is_refused:
        with pytest.raises(ProvisioningError, match="that does not exist in its new home; insert it there first"):
            transfer.move(library, "acme", database="main", progress=write)
    else:
        moved = transfer.move(library, "acme", database="main", progress=write)
        assert moved.tenant.placement.database == "main"
    assert waiting == []
    with library.session("acme") as session:
        assert session.execute(text("SELECT id, author_id FROM book")).one() == (1, author)


PARTS = """
CREATE TABLE part_of (id int PRIMARY KEY, author_id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF part_of DEFAULT;
DO $$ BEGIN
    IF to_regnamespace('shared') IS NOT NULL THEN
        ALTER TABLE part_of ADD FOREIGN KEY (author_id) REFERENCES shared.author;
    END IF;
END $$
"""


def test_rows_of_partitions_that_are_written_meanwhile_refer_to_shared_rows_that_exist(
    library: Tenancy, environment: Environment
) -> None:
    environment.add("t1", f"op.execute({PARTS!r})")
    migrations.upgrade_shared(library)
    library.create("acme", database="eu")
    waiting = ["INSERT INTO t_acme.part_of VALUES (1, 2)"]

    def write(*_: object) -> None:
        while waiting:
            with library.databases.engine("eu").begin() as connection:
                connection.exec_driver_sql(waiting.pop())

    with pytest.raises(ProvisioningError, match="a row refers to a shared row that does not exist"):
        transfer.move(library, "acme", database="main", progress=write)
