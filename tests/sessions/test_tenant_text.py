"""Text whose tables are the tenant's, also where other text is forbidden."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import bindparam, exists, func, insert, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, RawSQLForbiddenError, Tenancy, tenant_text
from tests.support.models import Project

pytestmark = pytest.mark.each_value

NAMES = tenant_text("SELECT p.name FROM {tenant}.project AS p WHERE p.name <> :name ORDER BY p.name")
JOINED = 'SELECT "P".name FROM {tenant}.project AS "P" JOIN shared.country ON shared.country.code = "P".country_code'

ACCEPTED = (
    "SELECT name FROM {tenant}.project",
    "  -- the projects\n( SELECT project.* FROM {tenant} . project )",
    "SELECT {tenant}.project.name, {tenant}.count_projects() FROM {tenant}.project;",
    "WITH p AS (SELECT name FROM {tenant}.project) SELECT p.name FROM p",
    "INSERT INTO {tenant}.project (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "UPDATE {tenant}.project SET name = '{1,2}' || E'it\\'s t_beta.x' || $$t_beta.y$$ WHERE id = 1.5",
    'DELETE FROM {tenant}."project" AS "a ""b""" WHERE "a ""b""".id = nextval(\'invoice_no\')',
    "MERGE INTO {tenant}.project AS old USING {tenant}.task AS new ON true WHEN MATCHED THEN DELETE",
    "TABLE {tenant}.project",
    "VALUES (1)",
)
REFUSED = {
    "SET search_path TO t_beta": "single SELECT",
    "RESET ROLE": "single SELECT",
    "DO $$ BEGIN END $$": "single SELECT",
    "COPY {tenant}.project TO STDOUT": "single SELECT",
    "TRUNCATE {tenant}.project": "single SELECT",
    "": "single SELECT",
    "SELECTED": "single SELECT",
    "SELECT 1; SELECT 2": "single SELECT",
    "SELECT 1; COMMIT;": "single SELECT",
    "SELECT set_config('search_path', :path, true)": "set_config",
    'SELECT pg_catalog."SET_CONFIG"(1)': "set_config",
    "SELECT name FROM {Tenant}.project": "brace",
    "SELECT name FROM {tenant}_project": "brace",
    "SELECT name FROM {shared}.project": "brace",
    "SELECT name FROM {tenant.project": "brace",
    "SELECT name FROM {}.project": "brace",
    "SELECT nextval('{tenant}.invoice_no')": "in quotes",
    'SELECT name FROM "{tenant}".project': "in quotes",
    "SELECT 1 -- {tenant}.project": "in a comment",
    "SELECT name FROM t_beta.project": "'t_beta' before a dot",
    "SELECT name FROM T_Beta . project": "'t_beta' before a dot",
    'SELECT name FROM "t_beta".project': "'t_beta' before a dot",
    "SELECT name FROM/* */t_beta.project": "'t_beta' before a dot",
    "SELECT t_beta.count_projects()": "'t_beta' before a dot",
    "SELECT CAST(name AS t_beta.citext) FROM {tenant}.project": "'t_beta' before a dot",
    "SELECT name::t_beta.citext FROM {tenant}.project": "'t_beta' before a dot",
    'SELECT "P".id FROM {tenant}.p': "'P' before a dot",
    "SELECT name FROM t_beta.": "'t_beta' before a dot",
    "SELECT project.id, t_beta.project.id FROM {tenant}.project": "'t_beta' before a dot",
}


@pytest.mark.parametrize("sql", ACCEPTED)
def test_the_names_of_a_text_are_the_tenants(sql: str) -> None:
    assert str(tenant_text(sql)) == sql


@pytest.mark.parametrize("sql", REFUSED)
def test_any_other_text_is_refused_by_an_error_that_says_what_to_write(sql: str) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED[sql]):
        tenant_text(sql)


WORDS = st.sampled_from(["t_beta", "p", '"T"', "'t_beta.x'", "{tenant}", ".", ".", "AS", "FROM", "project", ",", "\n"])


@given(st.lists(WORDS).map(" ".join))
def test_a_text_has_no_schema_that_is_not_a_name_of_its_own(sql: str) -> None:
    """Whatever is accepted has the neighbour's schema only where it is also an alias or a table."""
    try:
        tenant_text(f"SELECT {sql}")
    except ConfigurationError:
        return
    words = ["SELECT", *sql.split(), ""]
    qualifiers = {word for word, dot in pairwise(words) if dot == "."}
    own = {word for word, dot in pairwise(words) if dot != "."} | {word for dot, word in pairwise(words) if dot == "."}
    assert "t_beta" not in qualifiers or "t_beta" in own


def test_text_of_the_tenant_is_allowed_where_other_text_is_forbidden(make_any_tenancy: Callable[..., Any]) -> None:
    tenancy = make_any_tenancy(raw_sql="forbid")
    for key in ("acme", "beta"):
        tenancy.create(key)
        with tenancy.session(key) as session:
            add = tenant_text("INSERT INTO {tenant}.project (name) VALUES (:name)")
            session.execute(add, [{"name": f"{key} {number}"} for number in (1, 2)])
            session.commit()
    for key in ("acme", "beta"):
        with tenancy.session(key) as session:
            assert session.scalars(NAMES, {"name": f"{key} 2"}).all() == [f"{key} 1"]
            listed = tenant_text("SELECT name FROM {tenant}.project WHERE name IN :names AND 100 % 7 = 2")
            names: Any = bindparam("names", [f"{key} 1", "{tenant}"], expanding=True)
            assert session.scalars(listed.bindparams(names)).all() == [f"{key} 1"]
            entities = tenant_text("SELECT id, name FROM {tenant}.project ORDER BY name")
            found = session.scalars(select(Project).from_statement(entities)).all()
            assert [project.name for project in found] == [f"{key} 1", f"{key} 2"]
            assert session.scalar(select(func.count()).select_from(entities.columns(Project.id).subquery())) == 2
            with pytest.raises(RawSQLForbiddenError, match="tenant_text"):
                session.execute(text("SELECT name FROM project"))
            with pytest.raises(RawSQLForbiddenError):
                session.scalars(select(Project.name).where(text("name <> ''"), exists(entities.columns(Project.id))))


def test_the_placeholder_is_the_tenants_schema_whatever_the_path_is(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy()
    tenancy.create("acme")
    with tenancy.session("acme") as session:
        session.execute(text("SET LOCAL search_path TO pg_catalog"))
        assert session.scalars(NAMES, {"name": ""}).all() == []


def test_shared_tables_are_named_if_the_text_says_so(make_tenancy: Callable[..., Tenancy]) -> None:
    tenancy = make_tenancy(raw_sql="forbid")
    tenancy.create("acme")
    with pytest.raises(ConfigurationError, match=r"schemas=\['shared'\]"):
        tenant_text(JOINED)
    with tenancy.session("acme") as session:
        session.execute(insert(Project).values(name="one"))
        assert session.scalars(tenant_text(JOINED, schemas=["shared"])).all() == []


def test_without_a_tenant_it_fails(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    with tenancy.shared_session() as session, pytest.raises(ProgrammingError, match="does not exist"):
        session.execute(NAMES, {"name": ""})
    with Session(tenancy.engine) as session, pytest.raises(ConfigurationError, match=r"tenancy\.session"):
        session.execute(NAMES, {"name": ""})
