"""The application factory."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, Response, request

from examples.flask_app import access, errors, people, projects, tasks, words
from examples.flask_app.extensions import OPERATOR, csrf, kit
from examples.flask_app.login import Cookies
from examples.settings import Settings
from tenantkit import Tenancy
from tenantkit.context import current_tenant_or_none
from tenantkit.resolvers import PathPrefix, Subdomain, first_of

_HEADERS = {
    # No scripts: these pages have none, and text of users must not add any.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def create_app(tenancy: Tenancy, settings: Settings, *, operator: Tenancy | None = None) -> Flask:
    """Return the application; sign-ups create tenants by *operator*, if its login is another one.

    Tenants are at ``acme.localhost`` and at ``/t/acme``. At a tenant's own host, no path leads to another tenant.
    """
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=settings.secret_key,
        TRUSTED_HOSTS=[*settings.own_hosts, f".{settings.domain}"],
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        PERMANENT_SESSION_LIFETIME=timedelta(days=7),
        MAX_CONTENT_LENGTH=1024 * 1024,
        TRACKER_DOMAIN=settings.domain,
    )
    app.session_interface = Cookies()
    app.extensions[OPERATOR] = operator or tenancy
    kit.init_app(app, tenancy, resolver=first_of(Subdomain(settings.domain), PathPrefix("/t")))
    csrf.init_app(app)
    for blueprint in (access.pages, projects.pages, tasks.pages, people.pages):
        app.register_blueprint(blueprint)
    errors.init_app(app)
    words.init_app(app)
    app.context_processor(lambda: {"tenant": current_tenant_or_none()})
    app.after_request(_protect)
    return app


def _protect(response: Response) -> Response:
    response.headers.update(_HEADERS)
    if request.endpoint != "static":
        # Pages are for the user who is logged in: neither a cache nor the Back button shows them to others.
        response.headers["Cache-Control"] = "no-store"
    return response
