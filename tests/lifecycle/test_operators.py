"""Columns whose operators are not on a tenant's path are refused, with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, event, text
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.types import UserDefinedType

from tenantkit import ConfigurationError, ProvisioningError, Tenancy
from tenantkit.drift import check
from tenantkit.postgres.operators import require_operators
from tests.support.catalog import schemas
from tests.support.extensions import execute

Make = Callable[..., Tenancy]

EXTENSIONS = {"citext": "citext", "hstore": "hstore", "ltree": "ltree", "cube": "cube", "isbn": "isn"}
PREPARE = """
    CREATE SCHEMA ext;
    CREATE DOMAIN ext.email AS public.{name} CHECK (VALUE IS NOT NULL);
    CREATE DOMAIN ext.nested AS ext.email;
    CREATE TYPE ext.pair AS (one int, two public.{name});
"""
RANGES = "CREATE TYPE ext.span AS RANGE (subtype = public.citext, multirange_type_name = ext.multispan)"
COLUMNS = ["public.{name}", "public.{name}[]", "ext.email", "ext.nested", "ext.nested[]", "ext.pair", "ext.pair[]"]


class Named(UserDefinedType[Any]):
    """A type by its SQL name."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def declare(*types: Any) -> MetaData:
    metadata = MetaData(schema="tenant")
    Table("person", metadata, Column("id", Integer), *(Column(f"c{n}", type_) for n, type_ in enumerate(types)))
    return metadata


@pytest.mark.parametrize(("name", "extension"), EXTENSIONS.items())
def test_a_type_whose_operators_are_not_on_the_path_is_refused_in_every_form(
    name: str, extension: str, make_any_tenancy: Any, engine: Engine, all_cases: bool
) -> None:
    execute(engine, f"CREATE EXTENSION {extension} SCHEMA public", *PREPARE.format(name=name).strip().split("\n"))
    step = 1 if all_cases else 3  # by default, each kind of column has one or two of the types
    kinds = [column.format(name=name) for column in COLUMNS[list(EXTENSIONS).index(name) % step :: step]]
    if name == "citext":
        execute(engine, RANGES)
        kinds += ["ext.span", "ext.span[]", "ext.multispan"]
    for kind in kinds:
        metadata = declare(Text, Named(kind))
        with pytest.raises(ProvisioningError) as error:
            make_any_tenancy(shared=None, tenant=metadata, extra_schemas=["ext"]).create("acme")
        for part in (
            "creating the tables failed",
            f"person.c1 (public.{name})",
            "'public'",
            "extra_schemas=('ext', 'public')",
        ):
            assert part in str(error.value), kind
        assert f'ALTER EXTENSION "{extension}" SET SCHEMA' in str(error.value)
        assert "t_acme" not in schemas(engine)
        tenancy = make_any_tenancy(shared=None, tenant=metadata, extra_schemas=["public", "ext"])
        tenancy.create("acme")
        tenancy.drop("acme")


def test_a_type_without_operators_outside_of_the_path_is_accepted(make_any_tenancy: Any, engine: Engine) -> None:
    execute(
        engine,
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE EXTENSION pg_trgm SCHEMA public",
        "CREATE EXTENSION intarray SCHEMA public",
        "CREATE TYPE shared.level AS ENUM ('low', 'high')",
        "CREATE DOMAIN shared.positive AS int CHECK (VALUE > 0)",
        "CREATE TYPE shared.pair AS (one int, two text)",
        "CREATE TYPE shared.span AS RANGE (subtype = shared.level)",
    )
    kinds = [
        "shared.level",
        "shared.level[]",
        "shared.positive",
        "shared.pair",
        "shared.span",
        "text",
        "int[]",
        "jsonb",
    ]
    kinds += ["point", "tsvector", "int4range", "name", "xml", "uuid", "inet", "box", "shared.country"]
    metadata = declare(*map(Named, kinds))
    make_any_tenancy(shared=None, tenant=metadata).create("acme")


def test_a_type_with_operators_in_the_tenants_own_schema_is_accepted(make_any_tenancy: Any, engine: Engine) -> None:
    def seed(session: Any) -> None:
        for statement in (
            "CREATE TYPE pair AS (one int, two int)",
            "CREATE FUNCTION same(pair, pair) RETURNS bool LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = same)",
            "ALTER TABLE project ADD COLUMN p pair",
        ):
            session.execute(text(statement))

    tenancy = make_any_tenancy()
    tenancy.create("acme", seed=seed)
    tenancy.create("beta", seed=seed)


@pytest.mark.usefixtures("citext")
@pytest.mark.parametrize("schema", ["shared", "public"])
def test_a_shared_column_is_refused_too(schema: str, make_any_tenancy: Any, engine: Engine) -> None:
    execute(engine, f"CREATE TABLE {schema}.person (email public.citext)")
    shared = MetaData()
    Table("person", shared, Column("email", CITEXT), schema=schema)
    with pytest.raises(
        ProvisioningError, match=rf"{schema}\.person\.email \(public\.citext\).*extra_schemas=\('public',\)"
    ):
        make_any_tenancy(shared=shared, tenant=declare(Text)).create("acme")
    make_any_tenancy(shared=shared, tenant=declare(Text), extra_schemas=["public"]).create("acme")
    make_any_tenancy(tenant=declare(Text)).create("beta")  # no table of the application


@pytest.mark.usefixtures("citext")
def test_the_error_for_a_type_that_is_not_found_names_extra_schemas(make_any_tenancy: Any) -> None:
    with pytest.raises(ProvisioningError, match=r"'citext' is in the schema 'public'.*extra_schemas=\('public',\)"):
        make_any_tenancy(shared=None, tenant=declare(CITEXT)).create("acme")
    make_any_tenancy(shared=None, tenant=declare(CITEXT), extra_schemas=["public"]).create("acme")


@pytest.mark.parametrize("extra", [[], ["ext"]])
def test_the_error_for_a_missing_extension_names_create_extension(
    extra: list[str], make_any_tenancy: Any, engine: Engine
) -> None:
    schema = extra[0] if extra else "extensions"
    with pytest.raises(ProvisioningError) as error:
        make_any_tenancy(shared=None, tenant=declare(CITEXT), extra_schemas=extra).create("acme")
    assert f"CREATE EXTENSION citext SCHEMA {schema};" in str(error.value)
    execute(engine, f"CREATE SCHEMA {schema}", f"CREATE EXTENSION citext SCHEMA {schema}")
    make_any_tenancy(shared=None, tenant=declare(CITEXT), extra_schemas=[schema]).create("acme")


def test_the_error_for_another_missing_name_is_unchanged(make_tenancy: Make) -> None:
    with pytest.raises(ProvisioningError, match='type "nonsense" does not exist'):
        make_tenancy(shared=None, tenant=declare(Named("nonsense"))).create("acme")


@pytest.mark.usefixtures("citext")
def test_check_of_models_names_extra_schemas(make_tenancy: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"'citext' is in the schema 'public'.*extra_schemas=\('public',\)"):
        check(make_tenancy(shared=None, tenant=declare(CITEXT)), models=True)


@pytest.mark.usefixtures("citext")
@pytest.mark.parametrize("level", ["READ COMMITTED", "AUTOCOMMIT"])
def test_the_check_is_not_compiled_by_the_server_and_restores_the_setting(engine: Engine, level: str) -> None:
    execute(engine, "CREATE SCHEMA t_acme", "CREATE TABLE t_acme.person (id integer)")
    seen: list[str] = []

    def see(_connection: object, cursor: Any, statement: str, *_: Any) -> None:
        if "RECURSIVE" in statement:
            seen.extend(cursor.connection.execute("SHOW jit").fetchone())

    with engine.connect().execution_options(isolation_level=level) as connection:
        connection.exec_driver_sql("SET jit = on")
        event.listen(connection, "before_cursor_execute", see)
        require_operators(connection, ["t_acme"], extra_schemas=())
        assert (seen, connection.exec_driver_sql("SHOW jit").scalar_one()) == (["off"], "on")
