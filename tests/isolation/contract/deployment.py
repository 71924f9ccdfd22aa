"""A deployment of the application: its databases, the operator's tenancy, and the application's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from tenantkit import Tenancy
from tenantkit.databases.base import each_database
from tests.isolation.contract.application import KEYS, Entry, Project, Task
from tests.migrations.environments import Environment
from tests.support.blocking import Blocking, in_sync

if TYPE_CHECKING:
    from tests.isolation.contract.isolations import Kind

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The tenants of `KEYS` in one isolation."""

    kind: Kind
    urls: Mapping[str, URL]
    """The databases, as the operator reaches them."""
    role: str
    """The role of the application, which owns nothing."""
    environment: Environment
    operator: Tenancy
    """A tenancy that connects as the owner of all tables."""
    engines: Mapping[str, Engine]
    """Engines of the server's superuser, by the names of the databases."""
    application: Any
    """A `Tenancy`, or an `AsyncTenancy` behind a synchronous face, which connects as the role of the application."""

    def work(self, key: str, function: Callable[[Session], T], **options: Any) -> T:
        """Return what *function* does in a session of the tenant *key*, which is committed."""
        with self.application.session(key, **options) as session:
            done = in_sync(session, function)
            session.commit()
            return done

    def alter(self, key: str, statement: str) -> None:
        """Execute a statement as the owner of the tables, with the names of the tenant *key*."""
        place = self.operator.get(key).placement
        with self.operator.databases.engine(place.database).begin() as connection:
            connection.execute(select(func.set_config("search_path", f'"{place.schema}"', True)))
            connection.execute(text(statement))

    def shared_sessions(self) -> Iterator[Any]:
        """Yield the session for shared tables."""
        yield self.application.shared_session()

    def plain_sessions(self) -> Iterator[Any]:
        """Yield a session of SQLAlchemy's own on each engine, which has no tenant."""
        databases = self.application.databases
        for name in each_database(databases, (tenant.placement for tenant in self.operator.list())):
            engine = databases.engine(name)
            if isinstance(self.application, Blocking):
                yield Blocking(AsyncSession(AsyncEngine(engine)), self.application._portal)
            else:
                yield Session(engine)

    def connect(self, database: str) -> Any:
        """Return a connection of SQLAlchemy's own, to be entered."""
        engine = self.application.databases.engine(database)
        if isinstance(self.application, Blocking):
            return Blocking(AsyncEngine(engine).connect(), self.application._portal)
        return engine.connect()

    def clear(self) -> None:
        """Remove the rows of all cases."""
        for key in KEYS:
            self.work(key, _clear)


def _clear(session: Session) -> None:
    session.execute(delete(Task))
    session.execute(delete(Entry))
    session.execute(delete(Project).where(Project.id != 1))
