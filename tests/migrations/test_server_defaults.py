"""Autogenerate writes the default of a column once, for each type and text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from tenantkit import Tenancy
from tenantkit.migrations import init, migrate, revision, upgrade_shared
from tenantkit.postgres.quoting import quote_literal
from tests.migrations.shapes import shape
from tests.support.generated import examples

SPECIAL = [
    "it's 5% : off",
    "%s",
    "%(x)s",
    "%%",
    ":name",
    "a::b",
    "\\:",
    "\\",
    "\\n",
    "'",
    "''",
    '"',
    "$$",
    "tenant.x",
    "?",
]
NAMES = ["plain", "Case", "per%cent", 'qu"ote', "it's", "co:lon", "spa ce", "%(pct)s", "tenant", "select"]
TYPE_NAMES = ["a", "b%", "it's", ":c", 'qu"ote', "back\\slash", "{brace}", "comma, "]

texts = st.one_of(
    st.sampled_from(SPECIAL),
    st.lists(st.sampled_from([*SPECIAL, " ", "x"]), max_size=4).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)


def written(expression: str) -> sa.TextClause:
    """Return an expression of SQL; a colon in it does not begin a parameter."""
    return sa.text(expression.replace(":", "\\:"))


def literal(value: str, type_: str) -> sa.TextClause:
    return written(f"{quote_literal(value)}::{type_}")


KINDS: dict[str, tuple[Callable[[], Any], st.SearchStrategy[Any]]] = {
    "text": (
        sa.Text,
        texts
        | texts.map(lambda each: literal(each, "text"))
        | texts.map(sa.func.upper)
        | texts.map(lambda each: sa.cast(each, sa.Text))
        | texts.map(lambda each: sa.literal(each) + ":" + each),
    ),
    "varchar": (lambda: sa.String(7), texts | texts.map(lambda each: literal(each, "varchar"))),
    "char": (lambda: sa.CHAR(3), texts),
    "integer": (
        sa.Integer,
        st.integers(-99, 99).map(str)
        | st.integers(-99, 99).map(lambda each: sa.text(str(each)))
        | st.sampled_from([sa.text("(1 + 2) * 3"), sa.text("'5'"), sa.text("length('a%')"), sa.text("5::bigint")]),
    ),
    "numeric": (
        lambda: sa.Numeric(10, 2),
        st.sampled_from(
            ["1.5", "1.50", "-0", sa.text("1.5"), sa.text("(-1.50)"), sa.literal(2.25), "NaN", sa.text("1e3")]
        ),
    ),
    "float": (
        sa.Float,
        st.sampled_from(["1e10", sa.text("'Infinity'::float8"), sa.text("random()"), "0.1", sa.text("1/3.0")]),
    ),
    "boolean": (
        sa.Boolean,
        st.sampled_from([sa.true(), sa.false(), "true", "f", "1", sa.text("1 = 1"), sa.text("(NOT false)")]),
    ),
    "date": (
        sa.Date,
        st.sampled_from(["2020-02-29", sa.func.current_date(), sa.text("now()"), sa.text("date '2020-01-01'")]),
    ),
    "timestamp": (
        lambda: sa.DateTime(timezone=True),
        st.sampled_from(
            [
                sa.func.now(),
                sa.text("timezone('utc', now())"),
                "2020-01-01 00:00+02",
                sa.text("CURRENT_TIMESTAMP"),
                written("'epoch'::timestamptz"),
                written("(now() AT TIME ZONE 'Etc/GMT+5' + interval '1 day 10:00:00')"),
            ]
        ),
    ),
    "interval": (
        sa.Interval,
        st.sampled_from(["1 day", "24:00:00", sa.text("interval '1' day"), written("'1:00'::interval")]),
    ),
    "jsonb": (
        postgresql.JSONB,
        texts.map(lambda each: sa.func.to_jsonb(sa.cast(each, sa.Text)))
        | st.sampled_from(
            ["{}", '{"a%": ":b"}', "[1, 2]", "null", written("'{\"a\": 1}'::jsonb"), sa.func.jsonb_build_object()]
        ),
    ),
    "json": (sa.JSON, st.sampled_from(["{}", '{"a":  "it\'s"}', written("'[]'::json")])),
    "uuid": (
        sa.Uuid,
        st.sampled_from(
            [sa.func.gen_random_uuid(), "12345678-1234-1234-1234-123456789abc", sa.text("gen_random_uuid()")]
        ),
    ),
    "array": (
        lambda: sa.ARRAY(sa.Text),
        st.sampled_from(
            ["{}", '{"a%",":b"}', sa.text("ARRAY['a', 'b']"), written("'{}'::text[]"), written("ARRAY[]::text[]")]
        ),
    ),
    "bytea": (sa.LargeBinary, st.sampled_from([r"\x00ff", written(r"'\x00'::bytea"), sa.text("decode('00', 'hex')")])),
    "enum": (lambda: sa.Enum(*TYPE_NAMES, name="odd kind"), st.sampled_from(TYPE_NAMES)),
    "enum array": (lambda: sa.ARRAY(sa.Enum("a", "b", name="level")), st.sampled_from(["{}", "{a,a}"])),
    "inet": (postgresql.INET, st.sampled_from(["::1", "127.0.0.1/8", written("'::'::inet")])),
}
"""Types, with defaults for a column of each."""

columns = st.lists(
    st.sampled_from(sorted(KINDS)).flatmap(
        lambda kind: st.tuples(st.just(kind), KINDS[kind][1], KINDS[kind][1] | st.none())
    ),
    min_size=4,
    max_size=len(NAMES),
)


def declare(schema: str | None, declared: list[tuple[str, Any, Any]], which: int) -> sa.MetaData:
    metadata = sa.MetaData(schema=schema)
    made = [
        sa.Column(name, KINDS[kind][0](), server_default=defaults[which])
        for name, (kind, *defaults) in zip(NAMES, declared, strict=False)
    ]
    sa.Table("note", metadata, sa.Column("id", sa.Integer, primary_key=True), *made)
    return metadata


number = count()


@pytest.mark.all_cases
@examples(
    3,
    10,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(declared=columns, side=st.sampled_from(["tenant", "no placeholder", "shared"]))
@example(declared=[("text", "a", "tenant.x")], side="tenant")
@pytest.mark.filterwarnings("ignore:.*:sqlalchemy.exc.SAWarning")
def test_a_default_is_written_once_and_equals_the_models(
    declared: list[tuple[str, Any, Any]],
    side: str,
    tmp_path: Path,
    make_database: Callable[..., sa.URL],
) -> None:
    database = make_database()
    folder = tmp_path / str(next(number)) / "migrations"
    init(folder)
    schema = {"tenant": "tenant", "no placeholder": None, "shared": "common"}[side]
    real = "common" if side == "shared" else "t_acme"

    def make(which: int, **options: Any) -> Tenancy:
        metadata = declare(schema, declared, which)
        sides: dict[str, Any] = {"shared": sa.MetaData(), "tenant": metadata, "placeholder": schema}
        if side == "shared":
            sides = {"shared": metadata, "tenant": sa.MetaData(schema="tenant")}
        return opened.enter_context(closing(Tenancy(database, listen=False, **sides, **options)))

    with ExitStack() as opened:
        for which in (0, 1):
            tenancy = make(which, migrations=folder)
            shared = side == "shared"
            written = revision(tenancy, "defaults", shared=shared, autogenerate=True)
            if which == 0:
                tenancy.install()
                upgrade_shared(tenancy) if shared else tenancy.create("acme")
            else:
                upgrade_shared(make(which, migrations=folder)) if shared else migrate(
                    make(which, migrations=folder), jobs=0
                )
            again = revision(make(which, migrations=folder), "again", shared=shared, autogenerate=True)
            assert again is None, again.read_text()
            with tenancy.engine.begin() as connection:
                found = {line for line in shape(connection, real) if line.startswith("column note")}
                connection.exec_driver_sql("CREATE SCHEMA twin; SET LOCAL search_path = twin")
                metadata = declare(None, declared, which)
                metadata.create_all(connection)
                expected = {line for line in shape(connection, "twin") if line.startswith("column note")}
                connection.exec_driver_sql("DROP SCHEMA twin CASCADE")
            assert found == expected, written and written.read_text()
