"""Tenants for Flask (extra ``tenantkit[flask]``).

::

    from flask import Flask, jsonify
    from sqlalchemy import select
    from tenantkit.flask import TenantKit, shared_route
    from tenantkit.resolvers import PathPrefix, Subdomain, first_of

    kit = TenantKit()

    def create_app() -> Flask:
        app = Flask(__name__)
        kit.init_app(app, tenancy, resolver=first_of(Subdomain("example.com"), PathPrefix("/t")))
        return app

    @app.get("/projects")
    def projects():
        return jsonify(list(kit.session.scalars(select(Project.name))))

    @app.get("/login")
    @shared_route
    def login(): ...

A view that is not shared runs for a tenant only: requests that name
none end with `werkzeug.exceptions.NotFound`, those for a tenant that is not
active, or while the database does not answer, with ``ServiceUnavailable``, so
the application's own error handlers answer them. A shared view runs with the
named tenant if it is active, else without. A streamed body still has its tenant,
but ``kit.session`` is closed by then: wrap it in ``flask.stream_with_context``,
or open a session in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from flask import Blueprint, Flask, Response, after_this_request, current_app, g, has_request_context, request
from flask.globals import request_ctx
from werkzeug.exceptions import SecurityError, abort, default_exceptions

from tenantkit.arguments import Kind, instance, require
from tenantkit.context import current_tenant, current_tenant_or_none
from tenantkit.deployment import TENANCY
from tenantkit.exceptions import ConfigurationError, TenantUnavailableError
from tenantkit.sessions.session import TenantSession
from tenantkit.status import SERVED
from tenantkit.tenancy import Tenancy
from tenantkit.web.admission import REFUSAL, UNKNOWN, SharedPaths, is_preflight, refusal_after
from tenantkit.wsgi import TenantMiddleware

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

    from flask.typing import ResponseReturnValue
    from sqlalchemy.orm import Session

    from tenantkit.resolvers import Refusal, Resolver

__all__ = ["TenantKit", "refuse_unserved", "shared_route"]

_SHARED = "tenantkit_shared"
_SESSIONS = "tenantkit.sessions"

Shareable = TypeVar("Shareable", bound=Callable[..., Any] | Blueprint)

_VIEW = Kind(
    "a view function or a blueprint",
    lambda each: callable(each) or isinstance(each, Blueprint),
    advice=lambda _name, _value: (
        "Write @shared_route without parentheses, below @app.get(...); paths go into init_app(shared=[...])."
    ),
)


def shared_route(view: Shareable) -> Shareable:
    """Mark a view function, or all views of a blueprint, as needing no tenant.

    ::

        @app.get("/login")
        @shared_route
        def login(): ...

        accounts = shared_route(Blueprint("accounts", __name__))

    :raises TypeError: if *view* is neither.
    """
    require(view=(view, _VIEW))
    setattr(view, _SHARED, True)
    return view


def refuse_unserved() -> None:
    """Refuse a request for a tenant that is unknown or not active, on a shared view as on any other.

    For pages that need no tenant, but would look odd at the address of one that does not exist::

        accounts.before_request(refuse_unserved)

    :raises NotFound: if the tenant is unknown.
    :raises ServiceUnavailable: if it is not active, or cannot be looked up.
    :raises Unauthorized: if the request has a token that does not verify.
    """
    if (refusal := request.environ.get(REFUSAL)) is not None:
        _refuse(refusal)


@dataclass(frozen=True, slots=True)
class State:
    """The state of the extension in one application, ``app.extensions["tenantkit"]``."""

    tenancy: Tenancy
    shared: SharedPaths
    open_session: Callable[[], TenantSession]


class TenantKit:
    """The extension: one object for any number of applications."""

    def init_app(self, app: Flask, tenancy: Tenancy, *, resolver: Resolver, shared: Iterable[str] = ()) -> None:
        """Serve the tenants of *tenancy* with *app*.

        Middleware that changes the host, such as Werkzeug's ``ProxyFix``, has to wrap ``app.wsgi_app`` after this.

        :param resolver: returns the tenant of a request.
        :param shared: paths that need no tenant, besides `shared_route` views and static files.
        :raises ConfigurationError: if *app* is served already.
        """
        require(app=(app, instance(Flask, "a Flask application")), tenancy=(tenancy, TENANCY))

        def load_session(environ: WSGIEnvironment) -> Mapping[str, Any]:
            request = app.request_class(environ, populate_request=False)
            if (session := app.session_interface.open_session(app, request)) is None:
                raise ConfigurationError(
                    "The tenant is to be found in the session, but Flask has none without app.config['SECRET_KEY']."
                )
            return session

        state = State(tenancy, SharedPaths(shared), tenancy.session)
        # Every request passes here, because its view is known later: see _require_tenant.
        served = TenantMiddleware(app.wsgi_app, tenancy, resolver=resolver, shared=["/*"], load_session=load_session)
        if "tenantkit" in app.extensions:
            raise ConfigurationError(f"TenantKit serves {app.name!r} already: call init_app() once.")
        app.extensions["tenantkit"] = state
        _refuse_plain_sessions(app)
        app.wsgi_app = served  # type: ignore[method-assign]
        app.error_handler_spec[None][None].setdefault(TenantUnavailableError, _answer_unavailable)
        # First, so that no other such function runs for a request that is refused.
        app.before_request_funcs.setdefault(None, []).insert(0, _require_tenant)
        app.teardown_request(_close_sessions)
        app.teardown_appcontext(_close_sessions)

    @property
    def tenancy(self) -> Tenancy:
        """The tenancy of the current application."""
        return _state().tenancy

    @property
    def session(self) -> TenantSession:
        """The session of this request (or application context) for the current tenant.

        It is opened on first use and closed when the request ends;
        uncommitted changes are rolled back. In a command of the ``flask``
        command line, enter `tenantkit.tenant_context` first.

        :raises NoCurrentTenantError: if there is no current tenant.
        """
        return session_of_tenant()

    @property
    def shared_session(self) -> Session:
        """The session of this request (or application context) for shared tables."""
        sessions = open_sessions()
        if None not in sessions:
            sessions[None] = self.tenancy.shared_session()
        return sessions[None]


def session_of_tenant() -> TenantSession:
    """Return the session of this request (or application context) for the current tenant; see `TenantKit.session`."""
    sessions, tenant = open_sessions(), current_tenant()
    if tenant.identity not in sessions:
        sessions[tenant.identity] = _state().open_session()
    return cast("TenantSession", sessions[tenant.identity])


def _state() -> State:
    state: State = current_app.extensions["tenantkit"]
    return state


def _refuse_plain_sessions(app: Flask) -> None:
    """Refuse Flask-SQLAlchemy's own sessions for tables without a schema: they would use public's for any tenant."""
    db = cast("Any", app.extensions.get("sqlalchemy"))
    if db is None or app.extensions["tenantkit"].tenancy.placeholder is not None:
        return
    # With Flask-SQLAlchemy-Lite it is no attribute, but a property that opens a plain session.
    scoped = cast("dict[str, Any]", vars(db)).get("session")
    if scoped is None or not issubclass(scoped.session_factory.class_, TenantSession):
        raise ConfigurationError(
            "With placeholder=None, the db.session of Flask-SQLAlchemy would read the tables of the schema public, "
            "whatever tenant is current. Make it with tenantkit.flask_sqlalchemy.SQLAlchemy, or declare tenant tables "
            "with a placeholder schema."
        )


def _require_tenant() -> None:
    _refuse_plain_sessions(current_app)
    if isinstance(request.routing_exception, SecurityError):  # The host is not in TRUSTED_HOSTS: no URL can be built.
        raise request.routing_exception
    if current_tenant_or_none() is None and not _is_shared():
        _refuse(request.environ.get(REFUSAL, UNKNOWN))


def _refuse(refusal: Refusal) -> NoReturn:
    _set_headers(refusal)
    abort(refusal.status, refusal.detail)


def _answer_unavailable(error: TenantUnavailableError) -> ResponseReturnValue:
    """Answer a request whose tenant was suspended meanwhile, or that writes although the tenant is read-only."""
    if (refusal := refusal_after(error, current_tenant_or_none())) is None:
        raise error
    for session in open_sessions().values():  # an error page may use them
        session.rollback()
    if error.status not in SERVED:
        request.environ[REFUSAL] = refusal
    _set_headers(refusal)
    return current_app.handle_http_exception(default_exceptions[refusal.status](refusal.detail))


def _set_headers(refusal: Refusal) -> None:
    @after_this_request
    def complete(response: Response) -> Response:
        # Error handlers make their own responses, often without the headers of the exception.
        for name, value in refusal.headers.items():
            response.headers[name] = value
        return response


def _is_shared() -> bool:
    endpoint = request.endpoint or ""
    return (
        hasattr(current_app.view_functions.get(endpoint), _SHARED)
        or any(hasattr(current_app.blueprints[name], _SHARED) for name in request.blueprints)
        or endpoint.rpartition(".")[2] == "static"
        or request.path in _state().shared
        or is_preflight(request.method, {name.lower(): value for name, value in request.headers})
    )


def open_sessions() -> dict[str | None, Session]:
    """Return the sessions for the application's tenancy, by the tenant's identity: those of the request, if any.

    An application context may outlive requests, for example in tests that push one. A request may have a context for
    each application that serves it, and for each thread that `flask.copy_current_request_context` begins.
    """
    holder = vars(request_ctx) if has_request_context() else vars(g)
    sessions: dict[str | None, Session] = holder.setdefault(_SESSIONS, {})
    return sessions


def _close_sessions(_error: BaseException | None) -> None:
    sessions = open_sessions()
    with ExitStack() as stack:
        while sessions:
            stack.callback(sessions.popitem()[1].close)
