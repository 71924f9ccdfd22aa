"""A second isolation for the tests, until there are real ones: schemas in a second database, for tenants of a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import URL, Engine, MetaData, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import Placement, Tenancy, Tenant
from tenantkit.asyncio import AsyncTenancy
from tenantkit.databases.base import Databases
from tenantkit.isolation.base import Isolation, NewTenant
from tenantkit.isolation.binding import Binding, bind
from tenantkit.isolation.isolations import Isolations
from tenantkit.isolation.schema import SchemaIsolation

EU = {"region": "eu"}
"""The attributes of a tenant that belongs into the second database."""

POOL: dict[str, Any] = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 60}


class Base(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Shared(DeclarativeBase):
    metadata = MetaData(schema="shared")


class Plan(Shared):
    __tablename__ = "plan"

    name: Mapped[str] = mapped_column(primary_key=True)


class TwoDatabases:
    """``main``, and ``eu``."""

    keys = ("main", "eu")

    def __init__(self, main: Engine, eu: Engine) -> None:
        self.main = main
        self._eu = eu

    def engine(self, key: str, /) -> Engine:
        return {"main": self.main, "eu": self._eu}[key]

    def elsewhere(self, key: str, /) -> Engine | None:
        return {"main": None, "eu": self._eu}[key]

    def prepare(self, hook: Callable[[Engine], object]) -> None:
        hook(self.main)
        hook(self._eu)

    def dispose(self) -> None:
        self.main.dispose()
        self._eu.dispose()


class EuIsolation(SchemaIsolation):
    """A schema in the database ``eu``, and a setting in each transaction."""

    def place(self, tenant: NewTenant) -> Placement:
        return replace(super().place(tenant), database="eu")

    def bind(self, tenant: Tenant) -> Binding:
        return bind(
            tenant,
            placeholder=self.placeholder,
            raw_sql=self.raw_sql,
            extra_schemas=self.extra_schemas,
            settings=(("tenantkit.tenant", str(tenant.id)),),
        )


class ByRegion(Isolations):
    """The second isolation for new tenants of the region, the first for all others."""

    def for_new(self, tenant: NewTenant) -> Isolation:
        first, second = self
        return second if tenant.attributes == EU else first


def isolate(tenancy: Tenancy) -> None:
    """Have *tenancy*, which was made with `TwoDatabases`, know the second isolation."""
    (first,) = tenancy.isolations
    assert isinstance(first, SchemaIsolation)
    options = {name: getattr(first, name) for name in SchemaIsolation.__dataclass_fields__}
    tenancy.isolations = tenancy.revisions.isolations = ByRegion(
        tenancy.databases, first, EuIsolation(**{**options, "name": "database"})
    )


class OneEngine(TwoDatabases):
    """``main``, and ``eu``, which is another name for it."""

    def __init__(self, main: Engine) -> None:
        super().__init__(main, main)

    def elsewhere(self, _key: str, /) -> None:
        return None


def make_sync(main: URL, eu: URL, **options: Any) -> Tenancy:
    return make_of(TwoDatabases(*(create_engine(url, **POOL) for url in (main, eu))), **options)


def make_of(databases: Databases, **options: Any) -> Tenancy:
    tenancy = Tenancy(databases, tenant=Base.metadata, shared=Shared.metadata, listen=False, **options)
    isolate(tenancy)
    return tenancy


class _Async(AsyncTenancy):
    eu: URL

    def _open_databases(self) -> Databases:
        return TwoDatabases(self.engine.sync_engine, create_async_engine(self.eu, **POOL).sync_engine)


def make_async(main: URL, eu: URL, driver: str, **options: Any) -> AsyncTenancy:
    names = {"drivername": f"postgresql+{driver}"}
    tenancy_class = type("Async", (_Async,), {"eu": eu.set(**names)})
    tenancy: AsyncTenancy = tenancy_class(
        main.set(**names),
        sync_database=TwoDatabases(*(create_engine(url, **POOL) for url in (main, eu))),
        engine_options=POOL,
        tenant=Base.metadata,
        shared=Shared.metadata,
        listen=False,
        **options,
    )
    isolate(tenancy.sync)
    return tenancy


@contextmanager
def dying(engine: Engine, event_name: str, when: Callable[..., bool]) -> Iterator[None]:
    """Have this process die, as far as `except Exception` can tell, at an event of *engine*."""
    from sqlalchemy import event

    def die(*arguments: Any) -> None:
        if when(*arguments):
            raise SystemExit("killed")

    event.listen(engine, event_name, die)
    try:
        yield
    finally:
        event.remove(engine, event_name, die)
