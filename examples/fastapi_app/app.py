"""The application factory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.staticfiles import StaticFiles

from examples.fastapi_app import errors, headers
from examples.fastapi_app.login import Logins
from examples.fastapi_app.places import Places
from examples.fastapi_app.routes import access, accounts, page, people, projects, tasks
from examples.settings import Settings
from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy
from tenantkit.fastapi import TenantMiddleware
from tenantkit.resolvers import PathPrefix, Subdomain, first_of

TAGS = [
    {"name": "accounts", "description": "Sign-up, and a user's tenants. Needs no tenant."},
    {"name": "log-in", "description": "Logging in to a tenant."},
    {"name": "projects", "description": "Projects and their boards."},
    {"name": "tasks", "description": "Tasks and comments."},
    {"name": "people", "description": "Members, and what happened."},
]


def create_app(tenancy: AsyncTenancy, settings: Settings, *, operator: Tenancy | None = None) -> FastAPI:
    """Return the application, which closes *tenancy* when it ends.

    Sign-ups create tenants by *operator*, if its login is another one.

    Tenants are at ``acme.localhost`` and at ``/t/acme``. At a tenant's own host, no path leads to another tenant.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
        yield
        await tenancy.close()

    app = FastAPI(
        title="Tracker",
        summary="Projects and tasks, with a schema for each tenant.",
        version="1.0",
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load their scripts from another host
        redoc_url=None,
        root_path_in_servers=False,  # otherwise the document would name every tenant that requested it
    )
    app.state.tenancy = tenancy
    app.state.operator = operator or tenancy.sync
    app.state.logins = Logins(settings)
    app.state.places = Places(settings.domain)
    for router in (accounts.router, access.router, projects.router, tasks.router, people.router, page.router):
        app.include_router(router)
    errors.init_app(app)
    app.mount("/static", StaticFiles(directory=page.FOLDER), name="static")
    app.add_middleware(
        TenantMiddleware,
        tenancy=tenancy,
        resolver=first_of(Subdomain(settings.domain), PathPrefix("/t")),
        shared=["/openapi.json", "/static/*"],
        refuse=errors.refuse,
    )
    # The middleware that is added last runs first.
    app.add_middleware(headers.Protection)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*settings.own_hosts, f"*.{settings.domain}"])
    return app
