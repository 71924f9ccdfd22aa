"""A restored tenant, or a clone, equals the tenant, for random tables, rows and isolations."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, text

from tenantkit import Tenancy, transfer
from tenantkit.transfer import filling, loading
from tenantkit.transfer.compression import Compression
from tests.drift.conftest import in_schema, run_script
from tests.drift.test_any_to_any import designs, of_version
from tests.migrations.environments import Environment
from tests.support.generated import examples
from tests.support.models import APPLICATION
from tests.transfer.whole import whole

_numbers = count()

VALUES = {
    "integer": st.integers(-3, 3).map(str),
    "bigint": st.integers(-3, 3).map(str),
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    "character varying(5)": st.text("ab\\\t\n'%", max_size=5),
    "numeric(8,2)": st.sampled_from(["0", "-1.50", "NaN"]),
    "mood": st.sampled_from(["sad", "ok"]),
    "mood[]": st.sampled_from(["{}", "{sad,NULL}"]),
}

INSERT = """
DO $do$ DECLARE each record; line jsonb; BEGIN
    FOR each IN SELECT relname, (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
        WHERE attrelid = pg_class.oid AND attnum > 0 AND attgenerated = '') AS columns
        FROM pg_class WHERE relnamespace = current_schema::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
    LOOP
        FOR line IN SELECT jsonb_array_elements($rows${rows}$rows$) LOOP
            BEGIN
                EXECUTE format('INSERT INTO %I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_populate_record(NULL::%I, $1)',
                    each.relname, each.columns, each.columns, each.relname) USING line;
            EXCEPTION WHEN others THEN NULL;
            END;
        END LOOP;
    END LOOP;
END $do$
"""


@st.composite
def lines(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return values of columns of all names, of which a table takes those that it has and can have."""
    chosen = st.sampled_from([*VALUES.values()]).flatmap(lambda values: values)
    line = st.fixed_dictionaries({"id": st.integers(-3, 3)}, optional={name: chosen | st.none() for name in "abc"})
    return draw(st.lists(line, max_size=12))


@examples(2, 60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    design=designs(),
    rows=lines(),
    way=st.tuples(st.sampled_from(["schema", "schema", "database"]), st.booleans(), st.sampled_from(["zstd", "none"])),
)
def test_any_tenant_is_restored_as_it_was(
    owned: URL,
    engine: Engine,
    environment: Environment,
    tmp_path: Path,
    design: str,
    rows: list[dict[str, Any]],
    way: tuple[str, bool, Compression],
) -> None:
    isolation, in_steps, compression = way
    number = next(_numbers)
    environment.add("t1", f"op.execute({of_version(engine, design)!r})", after="base")
    filled = INSERT.replace("{rows}", json_text(rows))
    with (
        closing(Tenancy(owned, migrations=environment.folder, listen=False, **APPLICATION)) as tenancy,
        pytest.MonkeyPatch.context() as patch,
    ):
        if in_steps:
            patch.setattr(filling, "IN_ONE_TRANSACTION", -1)
            patch.setattr(loading, "MANY_ROWS", 0)
        tenant = tenancy.create(f"k{number}")
        run_script(owned, in_schema(tenant.schema, filled))
        before = whole(owned, tenant.schema)
        file = tmp_path / f"{number}.tenant"
        transfer.backup(tenancy, tenant.key, file, compression=compression)
        restored = transfer.restore(tenancy, file, isolation=isolation).tenant
        there = owned.set(database=tenancy.databases.engine(restored.placement.database).url.database)
        assert whole(there, restored.schema) == before
        cloned = transfer.clone(tenancy, tenant.key, as_=f"{tenant.key}-clone", isolation=isolation).tenant
        there = owned.set(database=tenancy.databases.engine(cloned.placement.database).url.database)
        assert whole(there, cloned.schema) == before
        assert whole(owned, tenant.schema) == before
        for key in (restored.key, cloned.key, tenant.key):
            tenancy.drop(key)


def json_text(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False).replace("$", "\\u0024")


def test_the_random_rows_are_rows(owned: URL, make_owned: Callable[[str], Tenancy]) -> None:
    tenancy = make_owned("CREATE TABLE t (id integer PRIMARY KEY, a text)")
    tenancy.create("acme")
    run_script(
        owned, in_schema("t_acme", INSERT.replace("{rows}", json_text([{"id": 1, "a": "x"}, {"id": 1}, {"a": 2}])))
    )
    with tenancy.session("acme") as session:
        assert session.execute(text("SELECT * FROM t")).all() == [(1, "x")]
