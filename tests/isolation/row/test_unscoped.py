"""Sessions that read the rows of all tenants of common tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import URL, Engine, ForeignKey, MetaData, func, insert, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import ConfigurationError, Tenancy
from tests.isolation.row.conftest import APP, as_role, make_owner
from tests.isolation.row.models import APPLICATION, Account, Tag

TENANT: Any = literal_column("tag.tenant_id")


@pytest.fixture
def make_login(engine: Engine, pair_url: URL) -> Generator[Callable[..., URL]]:
    """Create a role with an attribute, which may read the common tables."""
    role = f"tk_unscoped_{pair_url.database}"

    def make(attribute: str = "BYPASSRLS") -> URL:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'tk' {attribute}")
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA rows TO {role}")
            connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA rows TO {role}")
        return as_role(pair_url, role)

    yield make
    with engine.begin() as connection:
        if connection.exec_driver_sql("SELECT count(*) FROM pg_roles WHERE rolname = %s", (role,)).scalar():
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")


@pytest.fixture
def rows(pair_url: URL) -> None:
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as tenancy:
        for key in ("acme", "berta", "corp"):
            with tenancy.session(key) as session:
                session.add(Tag(id=1, name=key))
                session.commit()


@pytest.fixture
def reader(pair_url: URL, make_login: Callable[..., URL], rows: None, make_app: Callable[..., Any]) -> Any:
    return make_app(pair_url, make_login(), **APPLICATION)


def test_it_reads_all_rows_and_says_why(reader: Any, pair: Tenancy, caplog: pytest.LogCaptureFixture) -> None:
    ids = [pair.get(key).id for key in ("acme", "berta")]
    with caplog.at_level(logging.WARNING, "tenantkit"), reader.unscoped_session(reason="the report of May") as session:
        assert session.execute(select(Tag.id, Tag.name, TENANT).order_by(TENANT)).all() == [
            (1, "acme", ids[0]),
            (1, "berta", ids[1]),
        ]
        session.commit()
        assert session.execute(text("SELECT count(*) FROM tag")).scalar() == 2
        assert session.execute(select(func.count()).select_from(Tag)).scalar() == 2
    [record] = [each for each in caplog.records if each.name == "tenantkit.sessions.unscoped"]
    assert (record.levelname, "the report of May" in record.getMessage()) == ("WARNING", True)
    with reader.session("acme") as session:  # on another login
        assert session.scalars(select(Tag.name)).all() == ["acme"]


WRITES: dict[str, Any] = {
    "text": text("UPDATE tag SET name = 'x'"),
    "update": update(Tag).values(name="x"),
    "insert": insert(Account).values(id=1, name="x"),
}


@pytest.mark.parametrize("way", WRITES)
def test_it_changes_nothing(reader: Any, way: str) -> None:
    with reader.unscoped_session(reason="a test") as session, pytest.raises(DBAPIError, match="read-only transaction"):
        session.execute(WRITES[way])


@pytest.mark.parametrize("way", ["select", "get", "add", "merge"])
def test_rows_with_the_same_key_are_not_one_object(reader: Any, way: str) -> None:
    """In an identity map, the rows of two tenants would be one."""
    with reader.session("acme") as session:
        tag = session.scalars(select(Tag)).one()
    with (
        reader.unscoped_session(reason="a test") as session,
        pytest.raises(ConfigurationError, match=r"no objects of Tag: .*literal_column\('tag\.tenant_id'\)"),
    ):
        match way:
            case "select":
                session.scalars(select(Tag)).all()
            case "get":
                session.get(Tag, 1)
            case "add":
                session.add(tag)
            case _:
                session.merge(tag)


def test_objects_with_keys_that_are_unique_among_all_tenants_are_loaded(url: URL) -> None:
    class Base(DeclarativeBase):
        metadata = MetaData(schema="tenant")

    class Own(Base):
        __tablename__ = "own"
        id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
        organization_id: Mapped[UUID]

    class Part(Base):
        __tablename__ = "part"
        id: Mapped[int] = mapped_column(primary_key=True)
        own_id: Mapped[UUID] = mapped_column(ForeignKey(Own.id))

    def seed(session: Any) -> None:
        one = Own()
        session.add(one)
        session.flush()
        session.add(Part(id=1, own_id=one.id))

    # The superuser stands for a login that bypasses row security.
    options: dict[str, Any] = {"tenant": Base.metadata, "shared": None, "row_column": "organization_id"}
    with closing(make_owner(url, **options, unscoped_url=url)) as tenancy:
        for key in ("acme", "berta"):
            tenancy.create(key, isolation="row", seed=seed)
        with tenancy.unscoped_session(reason="a test") as session:
            assert {str(each.organization_id) for each in session.scalars(select(Own))} == {
                tenant.row_value for tenant in tenancy.list()
            }
            with pytest.raises(ConfigurationError, match="no objects of Part"):
                session.scalars(select(Part)).all()


def test_without_a_login_of_its_own_it_is_refused(pair: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="unscoped_url="):
        pair.unscoped_session(reason="a test")


def test_a_login_with_row_security_is_refused(pair_url: URL, make_login: Callable[..., URL]) -> None:
    tenancy = Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False, unscoped_url=make_login(""))
    with (
        closing(tenancy),
        tenancy.unscoped_session(reason="a test") as session,
        pytest.raises(ConfigurationError, match=r"ALTER ROLE \.\.\. BYPASSRLS"),
    ):
        session.execute(select(Tag.id))
