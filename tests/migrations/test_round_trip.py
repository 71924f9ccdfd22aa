"""What autogenerate writes makes what the models say, and a second time there is nothing to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tenantkit import Tenancy
from tenantkit.drift import check
from tenantkit.migrations import downgrade, migrate, revision, upgrade_shared
from tests.migrations.environments import Environment
from tests.migrations.shapes import shape

pytestmark = pytest.mark.few_cases

Make = Callable[..., Tenancy]

CONVENTIONS: dict[str, dict[str, str] | None] = {
    "none": None,
    "by table": {
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
        "ex": "ex_%(table_name)s",
    },
    "by label": {
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(column_0_label)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(column_0_label)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
}


def declare(metadata: sa.MetaData, schema: str | None, step: int) -> None:
    """Declare a table with whatever is rendered as text with names of *schema* inside; *step* 1 has more than 0."""
    kind = sa.Enum("a", "it's: 5%", name="kind", metadata=metadata, schema=schema)
    a, odd = sa.cast("a", kind), sa.cast("it's: 5%", kind)
    ticket = sa.Sequence("ticket_seq", metadata=metadata, start=5, schema=schema)
    prefix = f"{schema}." if schema else ""
    if step:
        sa.Sequence("alone_seq", metadata=metadata, schema=schema)
    table = sa.Table(
        "note",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True, start=3), primary_key=True),
        sa.Column("kind", kind, server_default=odd if step else a, nullable=False, comment="it's :kind 5%"),
        sa.Column("number", sa.Integer, server_default=ticket.next_value(), index=True),
        sa.Column("text", sa.Text, unique=True),
        sa.Column("parent_id", sa.ForeignKey(f"{prefix}note.id", ondelete="CASCADE")),
        sa.Column("during", postgresql.INT4RANGE),
        schema=schema,
        comment="step %: 1" if step else "it's",
    )
    c = table.c
    table.append_column(sa.Column("is_a", sa.Boolean, sa.Computed(c.kind == a, persisted=True)))
    table.append_constraint(sa.CheckConstraint(c.kind.in_([a, odd]), name="kinds"))
    table.append_constraint(postgresql.ExcludeConstraint((c.during, "&&"), where=c.kind == a, name="ex_note"))
    sa.Index("ix_note_expression", sa.func.coalesce(c.kind, a))
    sa.Index("ix_note_where", c.number, postgresql_where=c.kind == odd, postgresql_include=["text"])
    if step:
        fresh = sa.Sequence("fresh_seq", metadata=metadata, increment=2, schema=schema)
        table.append_column(sa.Column("fresh", sa.Integer, server_default=fresh.next_value()))
        table.append_column(sa.Column("is_odd", sa.Boolean, sa.Computed(c.kind == odd, persisted=True)))
        name = None if metadata.naming_convention.get("uq") else "uq_note_number_text"
        table.append_constraint(sa.UniqueConstraint(c.number, c.text, name=name))
        sa.Index("ix_note_more", c.text.desc(), unique=True, postgresql_where=sa.and_(c.kind == odd, c.text != ":x %"))
        sa.Table(
            "tag",
            metadata,
            sa.Column("note_id", sa.ForeignKey(table.c.id, deferrable=True, initially="DEFERRED"), primary_key=True),
            sa.Column("kinds", postgresql.ARRAY(kind), server_default=sa.cast(postgresql.array([a]), sa.ARRAY(kind))),
            sa.CheckConstraint("note_id > 0 AND note_id::text <> '\\:x %'", name="positive"),
            schema=schema,
        )


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("side", ["tenant", "no placeholder", "shared"])
@pytest.mark.filterwarnings("ignore:Computed default on note.*cannot be modified")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_models_are_written_migrated_and_found_again(
    side: str, convention: str, environment: Environment, make_tenancy: Make, empty_database: sa.URL
) -> None:
    schema = {"tenant": "tenant", "no placeholder": None, "shared": "common"}[side]
    shared = side == "shared"

    def make(step: int, **options: Any) -> Tenancy:
        metadata = sa.MetaData(schema=schema, naming_convention=CONVENTIONS[convention])
        declare(metadata, schema, step)
        other = sa.MetaData(schema="tenant" if shared else "other")
        sides = {"shared": metadata, "tenant": other} if shared else {"shared": other, "tenant": metadata}
        return make_tenancy(
            database=empty_database, placeholder=None if side == "no placeholder" else "tenant", **sides, **options
        )

    def look(tenancy: Tenancy, schema: str) -> list[str]:
        with tenancy.engine.begin() as connection:
            return [line for line in shape(connection, schema) if "alembic_version" not in line]

    seen: list[list[str]] = []
    real = "common" if shared else "t_acme"
    for step in (0, 1):
        written = revision(make(step, migrations=environment.folder), "step", shared=shared, autogenerate=True)
        assert written is not None
        tenancy = make(step, migrations=environment.folder)
        tenancy.install()
        upgrade_shared(tenancy)
        if not shared:
            for key in ("acme", "globex") if step == 0 else ():
                tenancy.create(key)
            migrate(tenancy, jobs=0)
            tenancy.create(f"new{step}")
        again = revision(make(step, migrations=environment.folder), "again", shared=shared, autogenerate=True)
        assert again is None, again.read_text()
        seen.append(look(tenancy, real))
        if not shared:
            report = check(tenancy, models=True)
            assert not report.has_drift, report
            plain = make(step)
            plain.create(f"twin{step}")
            assert seen[step] == look(tenancy, "t_globex") == look(tenancy, f"t_new{step}")
            assert seen[step] == look(plain, f"t_twin{step}"), written.read_text()
            plain.drop(f"twin{step}")
    if not shared:
        tenancy = make(1, migrations=environment.folder)
        downgrade(tenancy, "-1", jobs=0)
        assert look(tenancy, "t_acme") == seen[0]
        migrate(tenancy, jobs=0)
        assert look(tenancy, "t_acme") == seen[1]
