"""A Flask application with views that show leaks of the tenant."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
from flask import Blueprint, Flask, Response, g, jsonify, request, stream_with_context, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from tenantkit import Tenancy, current_tenant
from tenantkit.context import copy_context_for, current_tenant_or_none
from tenantkit.flask import TenantKit, shared_route
from tenantkit.resolvers import Domain, Header, PathPrefix, Subdomain, first_of
from tenantkit.web import session_cookies
from tests.support.models import Country, Project

RESOLVER = first_of(PathPrefix("/t"), Subdomain("localhost"), Header("X-Tenant"), Domain())

kit = TenantKit()


def current_key() -> str | None:
    tenant = current_tenant_or_none()
    return tenant.key if tenant else None


def names(session: Session) -> list[str]:
    return list(session.scalars(select(Project.name).order_by(Project.id)))


def make_app(tenancy: Tenancy, **options: Any) -> Flask:
    """Return the application; ``app.extensions["seen"]`` has its calls before requests, and their sessions."""
    app = Flask(__name__, static_folder=".", static_url_path="/static")
    app.config["SECRET_KEY"] = "secret"
    seen: list[Any] = []
    app.extensions["seen"] = seen

    # Registered before init_app, and yet not called for refused requests.
    @app.before_request
    def note() -> None:
        seen.append(current_key())

    kit.init_app(app, tenancy, **{"resolver": RESOLVER, "shared": ["/health"], **options})

    @app.errorhandler(HTTPException)
    def show(error: HTTPException) -> Response:
        response = error.get_response()
        response.data = f"sorry: {error.description} {url_for('projects')}"
        return response  # type: ignore[return-value]

    add_shared_views(app)
    add_tenant_views(app)
    add_streams(app)
    return app


def add_shared_views(app: Flask) -> None:
    @app.get("/login")
    @shared_route
    def login() -> Response:
        return jsonify(current_key())

    @app.post("/login")
    def log_in() -> Response:
        flask.session.clear()
        flask.session["user"] = request.args["user"]
        flask.session["tenant"] = current_tenant().key
        session_cookies.bind(flask.session, current_tenant())
        return jsonify(current_key())

    @app.get("/me")
    def me() -> Response:
        bound = session_cookies.is_bound(flask.session, current_tenant())
        return jsonify(flask.session["user"] if bound else None)

    @app.get("/health")
    def health() -> Response:
        return jsonify(current_key())

    @app.get("/countries")
    @shared_route
    def countries() -> Response:
        assert kit.shared_session is kit.shared_session
        return jsonify(list(kit.shared_session.scalars(select(Country.code))))

    @app.get("/shared-but-needs-a-tenant")
    @shared_route
    def needs_a_tenant() -> Response:
        return jsonify(names(kit.session))

    accounts = shared_route(Blueprint("accounts", __name__, url_prefix="/accounts"))
    nested = Blueprint("nested", __name__, url_prefix="/nested", static_folder=".", static_url_path="/static")
    other = Blueprint("other", __name__, url_prefix="/other", static_folder=".", static_url_path="/static")
    for blueprint in (accounts, nested, other):
        blueprint.add_url_rule("/me", view_func=lambda: jsonify(current_key()))
    accounts.register_blueprint(nested)
    app.register_blueprint(accounts)
    app.register_blueprint(other)


def add_tenant_views(app: Flask) -> None:
    @app.get("/projects")
    def projects() -> Response:
        return jsonify([current_tenant().key, *names(kit.session)])

    @app.get("/slashed/")
    def slashed() -> Response:
        return jsonify(current_key())

    @app.post("/projects/<name>")
    def add(name: str) -> Response:
        session = kit.session
        app.extensions["seen"].append(session)
        session.add(Project(name=f"{name} 1"))
        session.commit()
        session.add(Project(name=f"{name} 2"))
        session.commit()
        session.add(Project(name="never committed"))
        session.flush()
        assert kit.session is session
        return jsonify(names(session))

    @app.get("/links")
    def links() -> Response:
        return jsonify([url_for("projects"), url_for("add", name="x", _external=True)])

    @app.get("/boom")
    def boom() -> Response:
        kit.session.add(Project(name="boom"))
        kit.session.flush()
        raise ZeroDivisionError

    @app.get("/pool")
    def pool() -> Response:
        with ThreadPoolExecutor(1) as pool:
            bare = pool.submit(current_key).result()
            return jsonify([bare, pool.submit(copy_context_for(current_tenant()).run, current_key).result()])

    @app.get("/g")
    def use_g() -> Response:
        return jsonify([g.setdefault("first", current_key()), *names(kit.session)])


def add_streams(app: Flask) -> None:
    def body() -> Generator[str]:
        for _ in range(3):
            yield f"{current_key()}:{names(kit.session)[0]} "

    @app.get("/stream-with-context")
    def with_context() -> Response:
        return Response(stream_with_context(body()))

    @app.get("/stream-late")
    def late() -> Response:
        return Response(body())

    @app.get("/stream-own-session")
    def own_session() -> Response:
        tenancy = kit.tenancy

        def own() -> Generator[str]:
            with tenancy.session() as session:
                for _ in range(3):
                    yield f"{current_key()}:{names(session)[0]} "

        return Response(own())
