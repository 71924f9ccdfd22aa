"""Two databases for the tests: tenants of a region are in the second one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import Tenancy, Tenant
from tenantkit.asyncio import AsyncTenancy
from tenantkit.isolation.binding import Binding, bind
from tenantkit.isolation.isolations import Isolations
from tenantkit.isolation.schema import SchemaIsolation
from tenantkit.placement import by_attribute

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


class Marked(SchemaIsolation):
    """A schema, and a setting in each transaction."""

    def bind(self, tenant: Tenant) -> Binding:
        return bind(
            tenant,
            placeholder=self.placeholder,
            raw_sql=self.raw_sql,
            extra_schemas=self.extra_schemas,
            settings=(("tenantkit.tenant", str(tenant.id)),),
        )


def mark(tenancy: Tenancy) -> None:
    """Have *tenancy* set the tenant's id in each of its transactions."""
    schema, *_ = tenancy.isolations
    options = {name: getattr(schema, name) for name in SchemaIsolation.__dataclass_fields__}
    tenancy.isolations = tenancy.revisions.isolations = Isolations(tenancy.databases, Marked(**options))


APPLICATION: dict[str, Any] = {
    "tenant": Base.metadata,
    "shared": Shared.metadata,
    "placement": by_attribute("region", {"eu": "eu"}, otherwise="main"),
    "listen": False,
}


def make_sync(main: URL, eu: URL, *, engine_options: dict[str, Any] = POOL, **options: Any) -> Tenancy:
    return Tenancy({"main": main, "eu": eu}, engine_options=engine_options, **{**APPLICATION, **options})


def make_async(
    main: URL, eu: URL, *, direct: tuple[URL, URL], engine_options: dict[str, Any] = POOL, **options: Any
) -> AsyncTenancy:
    """Make one on two databases, and on how its synchronous half reaches them."""
    return AsyncTenancy(
        {"main": main, "eu": eu},
        sync_database=dict(zip(("main", "eu"), direct, strict=True)),
        engine_options=engine_options,
        **{**APPLICATION, **options},
    )


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
