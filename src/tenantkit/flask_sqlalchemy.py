"""Tenants for Flask-SQLAlchemy (extra ``tenantkit[flask-sqlalchemy]``).

::

    from tenantkit.flask import TenantKit
    from tenantkit.flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy(metadata=MetaData(schema="tenant"))
    kit = TenantKit()

    class Note(db.Model): ...

    tenancy = Tenancy(url, tenant=db.metadata)

    def create_app() -> Flask:
        app = Flask(__name__)
        kit.init_app(app, tenancy, resolver=Subdomain("example.com"))
        db.init_app(app)
        return app

``db.session`` and ``Model.query`` then serve the current tenant, and raise
`tenantkit.NoCurrentTenantError` where there is none. ``db.session()`` is
``kit.session``. The engine, ``db.engine``, is the tenancy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import flask_sqlalchemy
import flask_sqlalchemy.session
from flask import Flask, current_app
from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.util import ScopedRegistry
from typing_extensions import override

from tenantkit.context import current_tenant, current_tenant_or_none
from tenantkit.exceptions import ConfigurationError, TenantMismatchError
from tenantkit.flask import State, open_sessions, session_of_tenant
from tenantkit.sessions import session as sessions
from tenantkit.sessions.classes import check_session_options

__all__ = ["SQLAlchemy", "TenantSession"]

_ENGINE_SETTINGS = ("SQLALCHEMY_ENGINE_OPTIONS", "SQLALCHEMY_ECHO")


class _OneEngine(flask_sqlalchemy.session.Session):
    """Flask-SQLAlchemy's session, without its choice among several databases."""

    @override
    def get_bind(  # pyright: ignore[reportIncompatibleMethodOverride] - Flask-SQLAlchemy's own signature
        self, mapper: Any = None, clause: Any = None, bind: Engine | Connection | None = None, **arguments: Any
    ) -> Engine | Connection:
        found = super().get_bind(mapper, clause, bind, **arguments)
        if bind is not None:
            return found
        if found is not self._db.engine:
            raise ConfigurationError(
                f"A model with a bind key is in another database, {found.engine.url.database!r}, which a tenant's "
                "session does not reach. Use Session(db.engines[key]) for it."
            )
        return self.bind or found


class TenantSession(sessions.TenantSession, _OneEngine):  # type: ignore[misc]
    """The session class of ``db.session``.

    A subclass goes to ``SQLAlchemy(session_options={"class_": AppSession})``.
    """

    def __init__(
        self, db: flask_sqlalchemy.SQLAlchemy, bind: Engine | Connection | None = None, **options: Any
    ) -> None:
        tenancy = _state(current_app).tenancy
        super().__init__(bind or tenancy.engine, binder=tenancy, db=db, **options)


class SQLAlchemy(flask_sqlalchemy.SQLAlchemy):
    """Flask-SQLAlchemy's extension, with sessions for the current tenant."""

    def __init__(
        self, app: Flask | None = None, *, session_options: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """Make the extension.

        :param app: an application that was given to `tenantkit.flask.TenantKit.init_app`.
        :param session_options: those of Flask-SQLAlchemy, without ``scopefunc``; ``class_`` is a subclass of
            `TenantSession`.
        :param options: those of Flask-SQLAlchemy, without ``engine_options``.
        :raises ConfigurationError: if an option would have sessions without a tenant, or another engine.
        """
        chosen = dict(session_options or {})
        class_ = chosen.pop("class_", TenantSession)
        if not (isinstance(class_, type) and issubclass(class_, TenantSession)) or "scopefunc" in chosen:
            raise ConfigurationError(
                "db.session serves the current tenant: leave scopefunc out of session_options=, and let its class_ be "
                "a subclass of tenantkit.flask_sqlalchemy.TenantSession."
            )
        check_session_options(chosen, class_)
        if options.get("engine_options"):
            raise ConfigurationError(_not_ours("engine_options="))
        super().__init__(session_options={**chosen, "class_": class_}, **options)
        self.session.registry = _Registry(self.session.session_factory)
        if app is not None:
            self.init_app(app)

    @override
    def init_app(self, app: Flask) -> None:
        """Serve *app*, after `tenantkit.flask.TenantKit.init_app` did.

        :raises ConfigurationError: if the application has no tenancy, or settings for another database.
        """
        state = _state(app)
        engine, metadata = state.tenancy.engine, state.tenancy.metadata
        if self.metadata not in metadata:
            raise ConfigurationError(
                "The tenancy does not know the models of db. Make it with Tenancy(..., tenant=db.metadata)."
            )
        config = cast("dict[str, Any]", app.config)
        if settings := [name for name in _ENGINE_SETTINGS if config.get(name)]:
            raise ConfigurationError(_not_ours(settings[0]))
        configured = config.get("SQLALCHEMY_DATABASE_URI") or engine.url
        if _place(make_url(configured)) != _place(engine.url) or None in config.get("SQLALCHEMY_BINDS", {}):
            raise ConfigurationError(
                "SQLALCHEMY_DATABASE_URI names another database than the tenancy's. "
                "Leave it out, or make the tenancy from the same setting."
            )
        config["SQLALCHEMY_DATABASE_URI"] = engine.url
        super().init_app(app)
        app.extensions["tenantkit"] = replace(state, open_session=cast("Any", self.session.session_factory))

    @override
    def create_all(self, bind_key: Any = "__all__") -> None:
        """Create the tables of a bind key; the tenancy's tables are refused."""
        self._refuse_tenants(bind_key)
        super().create_all(bind_key)

    @override
    def drop_all(self, bind_key: Any = "__all__") -> None:
        """Drop the tables of a bind key; the tenancy's tables are refused."""
        self._refuse_tenants(bind_key)
        super().drop_all(bind_key)

    def _refuse_tenants(self, bind_key: Any) -> None:
        tenancy = _state(current_app).tenancy
        keys = [bind_key] if bind_key is None or isinstance(bind_key, str) else bind_key
        if "__all__" in keys or any(self.metadatas.get(key) is tenancy.metadata.tenant for key in keys):
            raise ConfigurationError(
                "The tenants' tables are made by tenancy.create(key) and dropped by tenancy.drop(key). "
                "For shared ones, use db.metadata.create_all(db.engine, tables=tenancy.tables.shared)."
            )

    @override
    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        tenancy = _state(app).tenancy
        if bind_key is None or self.metadatas[bind_key] in tenancy.metadata:
            return tenancy.engine
        return super()._make_engine(bind_key, options, app)


class _Registry(ScopedRegistry[Any]):
    """The sessions of `TenantKit.session`, as ``db.session`` looks for them."""

    def __init__(self, factory: Any) -> None:
        super().__init__(factory, lambda: current_tenant().identity)

    @override
    def __call__(self) -> Any:
        return session_of_tenant()

    @override
    def has(self) -> bool:
        tenant = current_tenant_or_none()
        return tenant is not None and tenant.identity in open_sessions()

    @override
    def set(self, obj: Any) -> None:
        tenant = current_tenant()
        if obj.tenant.identity != tenant.identity:
            raise TenantMismatchError(obj.tenant.key, tenant.key)
        open_sessions()[tenant.identity] = obj

    @override
    def clear(self) -> None:
        if self.has():
            del open_sessions()[current_tenant().identity]


def _state(app: Flask) -> State:
    state: State | None = app.extensions.get("tenantkit")
    if state is None:
        raise ConfigurationError(
            "db serves the tenancy of its application: call kit.init_app(app, tenancy, ...) first."
        )
    return state


def _not_ours(setting: str) -> str:
    return f"{setting} would have no effect: db.engine is the tenancy's. Use Tenancy(..., engine_options=...)."


def _place(url: URL) -> tuple[Any, ...]:
    return (url.host or url.query.get("host"), url.port or url.query.get("port"), url.database)
