"""Expressions in generated revisions have no placeholder, and reach PostgreSQL unchanged."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tenantkit.migrations.authoring.rendering import escaped, without_schema

pytestmark = pytest.mark.each_value


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("'a'::tenant.kind", "'a'::kind"),
        ("'a'::TENANT.kind", "'a'::kind"),
        ("""ARRAY['a'::"tenant"."Kind"]::tenant.kind[]""", """ARRAY['a'::"Kind"]::kind[]"""),
        ("nextval('tenant.ticket_seq'::regclass)", "nextval('ticket_seq'::regclass)"),
        ("""nextval('tenant."Odd seq"'::regclass)""", """nextval('"Odd seq"'::regclass)"""),
        ("'tenant.x'::text", "'tenant.x'::text"),
        (r"E'it\'s tenant.x'", r"E'it\'s tenant.x'"),
        ("'it''s tenant.x' || tenant.f(x)", "'it''s tenant.x' || f(x)"),
        ("sub_tenant.f(x) + shared.tenant.x", "sub_tenant.f(x) + shared.tenant.x"),
        ("tenant + 1", "tenant + 1"),
        ('"tenant.kind"', '"tenant.kind"'),
    ],
)
def test_only_names_lose_the_placeholder(sql: str, expected: str) -> None:
    assert without_schema(sql, "tenant") == expected
    assert without_schema(sql, None) == sql


@pytest.mark.parametrize("schema", ["Odd # schema", "it's", "%(x)s"])
def test_a_placeholder_that_needs_quotes_is_found(schema: str) -> None:
    assert without_schema(f"""'a'::"{schema}".kind""", schema) == "'a'::kind"


@given(st.lists(st.sampled_from([":", "::", "\\", "a", "_", "%", "'", " ", ":a:", "\\:"]), max_size=8).map("".join))
def test_text_restores_escaped_characters(sql: str) -> None:
    assert str(sa.text(escaped(sql)).compile()) == sql
