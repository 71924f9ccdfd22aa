"""A FastAPI application with endpoints that show leaks of the tenant."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from tenantkit import Tenancy, TenantSession, current_tenant
from tenantkit.asyncio import AsyncTenancy, AsyncTenantSession
from tenantkit.context import copy_context_for, current_tenant_or_none
from tenantkit.fastapi import (
    CurrentTenant,
    TenantMiddleware,
    async_shared_session,
    async_tenant_session,
    shared,
    shared_session,
    tenant_session,
)
from tenantkit.resolvers import Domain, Header, PathPrefix, Subdomain, first_of
from tests.support.models import Country, Project

RESOLVER = first_of(PathPrefix("/t"), Subdomain("localhost"), Header("X-Tenant"), Domain())


def current_key() -> str | None:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else None


def names(session: Session) -> list[str]:
    return list(session.scalars(select(Project.name).order_by(Project.id)))


def make_app(tenancy: Tenancy | AsyncTenancy, **options: Any) -> FastAPI:
    """Return the application; ``app.state.seen`` has the tenants of its background work."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        yield
        if isinstance(tenancy, AsyncTenancy):
            await tenancy.close()

    app = FastAPI(lifespan=lifespan)
    app.state.seen = []
    app.add_middleware(
        TenantMiddleware, tenancy=tenancy, **{"resolver": RESOLVER, "shared": ["/health", "/static/*"], **options}
    )
    add_shared_routes(app)
    add_shared_routers(app)
    add_sync_routes(app)
    if isinstance(tenancy, AsyncTenancy):
        add_async_routes(app)
    add_background_routes(app)
    add_websockets(app)
    return app


def add_shared_routes(app: FastAPI) -> None:
    @app.get("/login", dependencies=[shared])
    async def login() -> str | None:
        return current_key()

    @app.get("/health")
    def health() -> str | None:
        return current_key()

    @app.post("/login")
    def log_in_for_a_tenant(tenant: CurrentTenant) -> str:
        return tenant.key


def add_shared_routers(app: FastAPI) -> None:
    router = APIRouter(prefix="/accounts", dependencies=[shared])
    nested = APIRouter(prefix="/nested")
    late = APIRouter()
    mounted = FastAPI()

    @router.get("/me")
    def me() -> str | None:
        return current_key()

    @router.get("/needs-a-tenant")
    def needs_a_tenant(tenant: CurrentTenant) -> str:
        return tenant.key

    @nested.get("/me")
    def nested_me() -> str | None:
        return current_key()

    @late.get("/{name}")
    def late_me(name: str, session: Annotated[Session, Depends(shared_session)]) -> list[str]:
        return [name, *session.scalars(select(Country.code))]

    @late.get("/{name}/secret")
    def late_secret(name: str) -> str:
        return name

    @mounted.get("/open", dependencies=[shared])
    def mounted_open() -> str | None:
        return current_key()

    @mounted.get("/closed")
    def mounted_closed() -> str | None:
        return current_key()

    router.include_router(nested)
    app.include_router(router)
    app.include_router(late, prefix="/late", dependencies=[shared])
    app.mount("/mounted", mounted)


def add_sync_routes(app: FastAPI) -> None:
    @app.get("/projects")
    def projects(session: Annotated[TenantSession, Depends(tenant_session)], tenant: CurrentTenant) -> list[str]:
        return [tenant.key, *names(session)]

    @app.post("/projects/{name}")
    def add(name: str, session: Annotated[TenantSession, Depends(tenant_session)]) -> list[str]:
        session.add(Project(name=f"{name} 1"))
        session.commit()
        session.add(Project(name=f"{name} 2"))
        session.commit()
        session.add(Project(name="never committed"))
        session.flush()
        return names(session)

    @app.get("/links")
    def links(request: Request) -> list[str]:
        return [str(request.url_for("projects")), str(request.url_for("add", name="x"))]

    @app.get("/boom")
    def boom() -> None:
        raise ZeroDivisionError

    @app.get("/pool")
    def pool() -> list[str | None]:
        with ThreadPoolExecutor(1) as pool:
            bare = pool.submit(current_key).result()
            return [bare, pool.submit(copy_context_for(current_tenant()).run, current_key).result(), current_key()]

    @app.get("/sync-stream")
    def sync_stream(session: Annotated[TenantSession, Depends(tenant_session)]) -> StreamingResponse:
        def body() -> Generator[str]:
            for _ in range(3):
                yield f"{current_key()}:{names(session)[0]} "

        return StreamingResponse(body())


def add_async_routes(app: FastAPI) -> None:
    @app.get("/async/projects")
    async def projects(
        session: Annotated[AsyncTenantSession, Depends(async_tenant_session)],
        tenant: CurrentTenant,
    ) -> list[str]:
        return [tenant.key, *await session.run_sync(names)]

    @app.get("/async/countries", dependencies=[shared])
    async def countries(session: Annotated[AsyncSession, Depends(async_shared_session)]) -> list[str]:
        return list(await session.scalars(select(Country.code)))

    @app.post("/async/projects/{name}")
    async def add(name: str, session: Annotated[AsyncTenantSession, Depends(async_tenant_session)]) -> list[str]:
        session.add(Project(name=f"{name} 1"))
        await session.commit()
        session.add(Project(name=f"{name} 2"))
        await session.commit()
        session.add(Project(name="never committed"))
        await session.flush()
        return await session.run_sync(names)


def add_background_routes(app: FastAPI) -> None:
    seen: list[str | None] = app.state.seen

    async def look_later() -> None:
        await asyncio.sleep(0)
        seen.append(current_key())

    def look() -> None:
        seen.append(current_key())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(look)
        tasks.add_task(look_later)
        return "ok"

    @app.get("/task")
    async def task(request: Request) -> str:
        request.app.state.task = asyncio.create_task(look_later())
        return "ok"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def body() -> AsyncGenerator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{current_key()} "

        return StreamingResponse(body())


def add_websockets(app: FastAPI) -> None:
    @app.websocket("/ws")
    async def websocket(websocket: WebSocket, session: Annotated[TenantSession, Depends(tenant_session)]) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_json([current_key(), *names(session)])
            session.rollback()  # returns the connection to the pool while the socket waits

    @app.websocket("/shared-ws", dependencies=[shared])
    async def shared_websocket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(current_key())
        await websocket.close()
