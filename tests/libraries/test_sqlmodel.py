"""SQLModel: its models, and the exec() of its sessions, for one tenant."""

# mypy: disable-error-code="call-arg"
# Without `from __future__ import annotations`: with it, SQLModel cannot read the types of relationships.

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.schema import CreateSchema

from tenantkit import TenantSession
from tenantkit.asyncio import AsyncTenantSession

sqlmodel: Any = pytest.importorskip("sqlmodel", reason="'make test-libraries' installs SQLModel")
asynchronous: Any = pytest.importorskip("sqlmodel.ext.asyncio.session")
KEYS = ("acme", "beta")


class Model(sqlmodel.SQLModel):
    metadata = MetaData(schema="tenant")


class Team(Model, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    name: str
    heroes: list["Hero"] = sqlmodel.Relationship(back_populates="team")


class Hero(Model, table=True):
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    name: str
    team_id: int | None = sqlmodel.Field(default=None, foreign_key="team.id")
    team: Team | None = sqlmodel.Relationship(back_populates="heroes")


class Plan(sqlmodel.SQLModel, table=True):
    __table_args__ = ({"schema": "shared"},)
    name: str = sqlmodel.Field(primary_key=True)


class Book(sqlmodel.SQLModel, table=True):
    __table_args__ = ({"schema": "tenant"},)
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    plan: str | None = sqlmodel.Field(default=None, foreign_key="shared.plan.name")


class Page(sqlmodel.SQLModel, table=True):
    __table_args__ = ({"schema": "tenant"},)
    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    book_id: int | None = sqlmodel.Field(default=None, foreign_key="tenant.book.id")


class AppSession(TenantSession, sqlmodel.Session):
    pass


class AsyncAppSession(AsyncTenantSession, asynchronous.AsyncSession):
    sync_session_class = AppSession


@pytest.fixture
def make_sqlmodel_tenancy(make_any_tenancy: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make each kind of tenancy, with SQLModel's sessions."""
    if request.node.callspec.id == "sync":
        classes: dict[str, Any] = {"session_class": AppSession, "shared_session_class": sqlmodel.Session}
    else:
        classes = {"session_class": AsyncAppSession, "shared_session_class": asynchronous.AsyncSession}
    return lambda **options: make_any_tenancy(**{"shared": None, **classes, **options})


def test_exec_reads_the_models_of_one_tenant(make_sqlmodel_tenancy: Callable[..., Any]) -> None:
    tenancy = make_sqlmodel_tenancy(tenant=Model.metadata)
    for key in KEYS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            session.add(Hero(name=f"hero of {key}", team=Team(name=f"team of {key}")))
            session.commit()
    for key in KEYS:
        with tenancy.session(key) as session:
            heroes = sqlmodel.select(Hero)
            assert [hero.name for hero in session.exec(heroes).all()] == [f"hero of {key}"]
            pairs = sqlmodel.select(Hero.name, Team.name).join(Team)
            assert session.exec(pairs).all() == [(f"hero of {key}", f"team of {key}")]
            assert session.exec(sqlmodel.update(Hero).values(name="renamed")).rowcount == 1
            assert session.exec(text("SELECT name FROM hero")).all() == [("renamed",)]


def test_a_schema_in_table_args_works_as_well(make_sqlmodel_tenancy: Callable[..., Any], engine: Any) -> None:
    tenancy = make_sqlmodel_tenancy(tenant=sqlmodel.SQLModel.metadata)
    with engine.begin() as connection:
        connection.execute(CreateSchema("shared", if_not_exists=True))
        Plan.__table__.create(connection)
    with tenancy.shared_session() as session:
        session.add(Plan(name="free"))
        session.commit()
        assert session.exec(sqlmodel.select(Plan.name)).all() == ["free"]
    for key in KEYS:
        tenancy.create(key)
        with tenancy.session(key) as session:
            session.add(book := Book(plan="free"))
            session.flush()
            session.add(Page(book_id=book.id))
            session.commit()
            assert book.plan == "free" or session.refresh(book)
            assert session.exec(sqlmodel.select(Page.book_id)).all() == [1]
