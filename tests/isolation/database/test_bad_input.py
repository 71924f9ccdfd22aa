"""What cannot work is refused before anything is done, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from threading import Timer
from time import monotonic
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine

from tenantkit import ConfigurationError, InvalidTenantKeyError, ProvisioningError, Tenancy, TenantUnavailableError
from tests.isolation.database.conftest import APPLICATION, Make
from tests.support.copies import Databases
from tests.support.pgbouncer import PGBOUNCER, driver_arguments, pgbouncer


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine_budget": 0}, "engine_budget"),
        ({"engine_budget": 1.5}, "engine_budget"),
        ({"isolation": "databases"}, "isolation"),
        ({"database_prefix": "x" * 64}, "database_prefix"),
        ({"database_prefix": ""}, "database_prefix"),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said):
        make(**options)


def test_a_named_database_has_no_slash_in_its_name(url: URL) -> None:
    with pytest.raises(ConfigurationError, match="has 'a/b', but a name cannot have a '/'"):
        Tenancy({"main": url, "a/b": url.set(database="other")}, **APPLICATION)


@pytest.mark.parametrize(
    ("engine_options", "said"),
    [(None, "given as an engine"), ({"creator": lambda: psycopg.connect("")}, "has 'creator', which connects to one")],
)
def test_an_engine_that_leads_to_one_database_only_is_refused(
    url: URL, engine_options: dict[str, Any] | None, said: str
) -> None:
    given = create_engine(url) if engine_options is None else url
    with (
        closing(Tenancy(given, **APPLICATION, engine_options=engine_options)) as tenancy,
        pytest.raises(ConfigurationError, match=said),
    ):
        tenancy.create("acme")


def test_a_tenancy_that_cannot_reach_a_tenant_any_more_serves_the_others(url: URL, make: Make) -> None:
    tenancy = make()
    tenancy.create("acme")
    tenancy.create("near", isolation="schema")
    engine = create_engine(url)
    with closing(Tenancy(engine, **APPLICATION)) as other:
        with pytest.raises(TenantUnavailableError, match="given as an engine"):
            other.session("acme")
        with other.session("near") as session:
            session.connection()
        [finding] = other.diagnose()
        assert (finding.subject, finding.repair) == ("acme", None)


def test_a_name_that_is_too_long_is_refused(make: Make) -> None:
    tenancy = make(database_prefix="application_in_production_at_the_customer_")
    with pytest.raises(InvalidTenantKeyError, match="shorter database_prefix="):
        tenancy.create("a" * 30)
    assert tenancy.list() == []


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ("", "may not create databases: ALTER ROLE .* CREATEDB"),
        ("CREATEDB", "may not end the connections of tk_.*GRANT pg_signal_backend TO"),
    ],
)
def test_a_login_without_the_rights_is_refused_before_anything_is_done(
    url: URL, databases: Databases, server: Engine, rights: str, said: str
) -> None:
    owner, application = databases.make_role(), databases.make_role()
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER ROLE {owner} {rights}")
        connection.exec_driver_sql(f"GRANT ALL ON DATABASE {url.database} TO {owner}")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT ALL ON SCHEMA tenantkit TO {owner}")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {owner}")
    engine.dispose()
    login = url.set(username=owner)
    with closing(Tenancy(login, **APPLICATION, grant_to=application)) as tenancy:
        with pytest.raises(ProvisioningError, match=said):
            tenancy.create("acme")
        assert tenancy.list() == []


@pytest.fixture
def owner(url: URL, databases: Databases, server: Engine) -> str:
    """A login that may create databases, and is no superuser."""
    name = databases.make_role()
    with server.connect() as connection:
        connection.exec_driver_sql(f"ALTER ROLE {name} CREATEDB")
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} OWNER TO {name}")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"GRANT ALL ON SCHEMA tenantkit TO {name}")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA tenantkit TO {name}")
        connection.exec_driver_sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA tenantkit TO {name}")
    engine.dispose()
    return name


@pytest.mark.all_cases
def test_a_superusers_connection_is_waited_for_and_others_are_ended(url: URL, owner: str) -> None:
    with closing(Tenancy(url.set(username=owner), **APPLICATION)) as tenancy:
        database = tenancy.create("acme").placement.database.partition("/")[2]
        place = url.set(database=database, drivername="postgresql")
        superuser = psycopg.connect(place.render_as_string(hide_password=False))
        other = psycopg.connect(place.set(username=owner).render_as_string(hide_password=False))
        with closing(other), closing(superuser):
            with pytest.raises(ProvisioningError, match="is being accessed by other users"):
                tenancy.drop("acme")
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")
            closes = Timer(0.5, superuser.close)
            closes.start()
            tenancy.drop("acme")
            closes.join()
        assert tenancy.list() == []


@pytest.mark.skipif(PGBOUNCER is None, reason="needs PgBouncer (Debian: pgbouncer)")
def test_a_pgbouncer_without_a_wildcard_is_named_and_the_creation_can_be_repeated(url: URL, make: Make) -> None:
    with pgbouncer(url, databases=str(url.database)) as pooler:
        options = {"engine_options": {"connect_args": driver_arguments("psycopg")}}
        with closing(Tenancy(pooler, **APPLICATION, **options)) as tenancy:
            with pytest.raises(
                ProvisioningError, match=r"the database 'main/\w+_acme' cannot be reached: .*PgBouncer needs a line"
            ):
                tenancy.create("acme")
            assert [finding.subject for finding in tenancy.diagnose()] == ["acme"]
    direct = make()
    assert direct.create("acme").status == "active"
    assert direct.diagnose() == []


def test_a_tenancy_that_is_closed_leaves_no_connection(make: Make, server: Engine) -> None:
    tenancy = make(engine_budget=2)
    keys = ("acme", "berta", "corp")
    for key in keys:
        tenancy.create(key)
    for key in keys * 2:
        with tenancy.session(key) as session:
            session.connection()
    tenancy.close()
    with server.connect() as connection:
        count = f"SELECT count(*) FROM pg_stat_activity WHERE datname ^@ '{tenancy.engine.url.database}'"
        wait_until(lambda: connection.exec_driver_sql(count).scalar_one() == 0)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until the server has noticed that connections are closed."""
    end = monotonic() + 10
    while not holds():
        assert monotonic() < end
