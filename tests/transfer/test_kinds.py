"""A restored tenant equals the tenant, whatever its tables are: compared by all that pg_dump writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from tenantkit import BackupError, Tenancy, transfer
from tenantkit.transfer import Transform, catalog, filling, loading
from tenantkit.transfer.rewriting import Rewriting
from tenantkit.transfer.source import Source
from tests.drift.conftest import in_schema, plain, run_script
from tests.transfer.whole import whole

KINDS, ROWS = (Path(__file__).with_name(name).read_text() for name in ("kinds.sql", "rows.sql"))

PYTHONIC = """
UPDATE kinds SET j = nullif(j::jsonb, 'null'), jb = nullif(jb, 'null'), span = NULL
"""
BUSY = [("a", 1), ("b", 1), ("it's", 1)]


@pytest.fixture
def tenancy(make_owned: Callable[[str], Tenancy]) -> Tenancy:
    """A tenancy whose tenants have every kind of table."""
    return make_owned(KINDS)


@pytest.mark.parametrize("steps", ["in one transaction", "in steps"])
@pytest.mark.parametrize("isolation", ["schema", "database"])
def test_a_tenant_with_every_kind_of_table(
    tenancy: Tenancy, owned: URL, tmp_path: Path, isolation: str, steps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if steps == "in steps":
        monkeypatch.setattr(filling, "IN_ONE_TRANSACTION", 0)
        monkeypatch.setattr(loading, "MANY_ROWS", 0)
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", ROWS))
    if isolation == "database":  # which has no shared tables
        run_script(owned, in_schema("t_acme", "ALTER TABLE claim DROP CONSTRAINT to_shared"))
    before = whole(owned, "t_acme")
    transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    assert whole(owned, "t_acme") == before

    restored = transfer.restore(tenancy, tmp_path / "acme.tenant", isolation=isolation)
    there = owned.set(database=tenancy.databases.engine(restored.tenant.placement.database).url.database)
    assert whole(there, restored.tenant.schema) == before
    assert busy(there, restored.tenant.schema) == BUSY
    assert restored.changed == ()

    cloned = transfer.clone(tenancy, "acme", as_="copy", isolation=isolation)
    there = owned.set(database=tenancy.databases.engine(cloned.tenant.placement.database).url.database)
    assert whole(there, cloned.tenant.schema) == before
    assert busy(there, cloned.tenant.schema) == BUSY
    assert tenancy.diagnose() == []


class _EveryRow(Transform):
    """Has a function for each table and each column, whether or not models declare it."""

    names = ("everything",)

    def require_of(self, tenancy: object) -> None:
        """Accept all tables."""

    def rewritings(self, source: Source) -> dict[str, Rewriting]:
        """Return rows as they are."""
        found = {}
        for table in source.tables:
            types = catalog.read_column_types(source.connection, source.schema, table.name)
            columns = {column.name: types[column.name][0] for column in table.columns}
            same = dict.fromkeys(columns, lambda value: value)
            found[table.name] = Rewriting(table=table.name, columns=columns, key=(), row=lambda row: row, values=same)
        return found


@pytest.mark.parametrize("written", ["what changes", "everything"])
def test_values_that_no_function_changes_are_copied_as_they_are(
    tenancy: Tenancy, owned: URL, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", ROWS))
    if written == "everything":  # by the adapters of psycopg
        monkeypatch.setattr("tenantkit.transfer.rewriting._IMMUTABLE", ())
        monkeypatch.setattr(Rewriting, "_is_as_read", lambda *_: False)
    transfer.clone(tenancy, "acme", as_="copy", transform=_EveryRow())
    if written == "everything":  # but for what Python cannot tell: spaces and null of json, months
        for schema in ("t_acme", "t_copy"):
            run_script(owned, in_schema(schema, PYTHONIC))
    assert whole(owned, "t_copy") == whole(owned, "t_acme")


@pytest.mark.all_cases
def test_such_a_tenant_is_moved_and_back(tenancy: Tenancy, owned: URL) -> None:
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", ROWS))
    run_script(owned, in_schema("t_acme", "ALTER TABLE claim DROP CONSTRAINT to_shared"))
    before = whole(owned, "t_acme")
    moved = transfer.move(tenancy, "acme", isolation="database").tenant
    there = owned.set(database=tenancy.databases.engine(moved.placement.database).url.database)
    assert whole(there, moved.schema) == before
    assert busy(there, moved.schema) == [("a", 1), ("b", 1), ("it's", 1)]
    transfer.move(tenancy, "acme", back=True)
    assert whole(owned, "t_acme") == before
    assert busy(owned, "t_acme") == [("a", 1), ("b", 1), ("it's", 1)]
    transfer.finish_move(tenancy, "acme")
    assert tenancy.diagnose() == []


def busy(url: URL, schema: str) -> list[tuple[object, ...]]:
    """Return the rows of a materialized view, which a dump does not have."""
    with psycopg.connect(plain(url)) as connection:
        return connection.execute(f'SELECT * FROM "{schema}".busy ORDER BY 1'.encode()).fetchall()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("CREATE TABLE r (c regclass); INSERT INTO r VALUES ('kinds')", "names of objects"),
        ("CREATE TABLE r (c regtype[]); INSERT INTO r VALUES ('{int}')", "names of objects"),
        ("CREATE TABLE r (c oid); INSERT INTO r VALUES (lo_create(0))", "large objects"),
        ("CREATE DOMAIN lo AS oid; CREATE TABLE r (c lo); INSERT INTO r VALUES (lo_create(0))", "large objects"),
        ("CREATE TABLE shared.elsewhere PARTITION OF events FOR VALUES IN ('e')", "of other schemas"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_one_is_written(
    tenancy: Tenancy, owned: URL, tmp_path: Path, change: str, said: str
) -> None:
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", change))
    with pytest.raises(BackupError, match=said):
        transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    assert list(tmp_path.glob("*acme.tenant*")) == []
    assert list(tmp_path.glob(".*")) == []


def test_tables_that_were_changed_by_hand_are_told_before_anything_is_restored(
    tenancy: Tenancy, owned: URL, tmp_path: Path
) -> None:
    tenancy.create("acme")
    run_script(owned, in_schema("t_acme", "ALTER TABLE person ADD nickname text; ALTER TABLE team DROP lead"))
    transfer.backup(tenancy, "acme", tmp_path / "acme.tenant")
    with pytest.raises(Exception, match="person.nickname is missing, and in the rows to load it has text") as caught:
        transfer.restore(tenancy, tmp_path / "acme.tenant")
    assert "team.lead has the type integer, and in the rows to load it is missing" in str(caught.value)
    with psycopg.connect(plain(owned)) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_'").fetchall()
    assert found == [("t_acme",)]
