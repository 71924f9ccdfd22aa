"""Flask-SQLAlchemy's ``db.session`` and ``Model.query`` serve the current tenant, and fail without one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import flask_sqlalchemy
import pytest
from flask import Flask, g, jsonify
from flask_sqlalchemy.track_modifications import models_committed
from sqlalchemy import URL, ForeignKey, MetaData, create_engine, event, inspect, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, NoCurrentTenantError, Tenancy, TenantMismatchError, tenant_context
from tenantkit.flask import TenantKit, shared_route
from tenantkit.flask_sqlalchemy import SQLAlchemy, TenantSession
from tenantkit.resolvers import PathPrefix

KEYS = ("acme", "beta")
RESOLVER = PathPrefix("/t")


class Shop:
    """An application: its extension, its models, and the tenancy of its database."""

    def __init__(self, url: URL, placeholder: str | None = "tenant", **options: Any) -> None:
        self.db: Any = SQLAlchemy(metadata=MetaData(schema=placeholder), **options)
        db: Any = self.db

        class Colour(db.Model):
            __table_args__ = ({"schema": "shared"},)
            name = db.Column(db.String, primary_key=True)

        class Note(db.Model):
            id = db.Column(db.Integer, primary_key=True)
            text = db.Column(db.String)
            colour = db.Column(ForeignKey(Colour.name))

        self.Note: Any = Note
        self.Colour: Any = Colour
        self.kit = TenantKit()
        self.tenancy = Tenancy(
            url,
            application="shop",  # the same name with either placeholder
            tenant=db.metadata,
            placeholder=placeholder,
            listen=False,
            engine_options={"pool_size": 2},
        )

    def install(self) -> None:
        self.tenancy.install()
        with self.tenancy.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA shared"))
            connection.execute(text("CREATE TABLE public.note (id serial, text text, colour text)"))
            connection.execute(text("INSERT INTO public.note (text) VALUES ('of public')"))
            self.Colour.__table__.create(connection)
        for key in KEYS:
            self.tenancy.create(key)

    def make_app(self, **config: Any) -> Flask:
        app = Flask(__name__)
        app.config.update(TESTING=True, **config)
        self.kit.init_app(app, self.tenancy, resolver=RESOLVER)
        self.db.init_app(app)
        db, note = self.db, self.Note

        @app.post("/notes/<text>")
        def add(text: str) -> Any:
            db.session.add(note(text=text))
            db.session.commit()
            db.session.add(note(text="never committed"))
            db.session.flush()
            return {}

        @app.get("/notes")
        def notes() -> Any:
            by_query = [each.text for each in note.query.order_by(note.id)]
            by_select = list(db.session.scalars(db.select(note.text).order_by(note.id)))
            by_kit = list(self.kit.session.scalars(select(note.text).order_by(note.id)))
            by_text = list(db.session.scalars(text("SELECT text FROM note ORDER BY id")))
            pages = [each.text for each in db.paginate(db.select(note).order_by(note.id))]
            assert by_query == by_select == by_kit == by_text == pages
            return jsonify(by_query)

        @app.get("/notes/<int:number>")
        def one(number: int) -> Any:
            assert db.get_or_404(note, number) is note.query.filter_by(id=number).first_or_404()
            return jsonify(db.session.get(note, number).text)

        @app.get("/shared")
        @shared_route
        def shared() -> Any:
            return jsonify(note.query.count())

        return app


@pytest.fixture(scope="session")
def shop_template(make_template: Callable[..., URL]) -> str:
    """A database with a shop's two tenants, and a table ``note`` in public that no tenant may read."""
    url = make_template()
    shop = Shop(url)
    shop.install()
    shop.tenancy.close()
    assert url.database
    return url.database


@pytest.fixture
def database(make_database: Callable[..., URL], shop_template: str) -> URL:
    return make_database(shop_template)


@pytest.fixture(params=["tenant", None], ids=["placeholder", "no-placeholder"])
def shop(request: pytest.FixtureRequest, database: URL) -> Generator[Shop]:
    shop = Shop(database, request.param)
    with closing(shop.tenancy):
        yield shop


def test_every_way_to_a_model_serves_the_tenant_of_the_request(shop: Shop) -> None:
    client = shop.make_app().test_client()
    for key in KEYS:
        assert client.get(f"/t/{key}/notes").json == []
        client.post(f"/t/{key}/notes/of-{key}")
    for key in KEYS * 2:
        assert client.get(f"/t/{key}/notes").json == [f"of-{key}"]
        assert client.get(f"/t/{key}/notes/1").json == f"of-{key}"
        assert client.get(f"/t/{key}/notes/7").status_code == 404


def test_without_a_tenant_nothing_is_served(shop: Shop) -> None:
    app = shop.make_app()
    with pytest.raises(NoCurrentTenantError):
        app.test_client().get("/shared")
    with app.app_context():
        for serve in (
            lambda: shop.Note.query,
            lambda: shop.db.session.scalars(select(shop.Note)),
            lambda: shop.db.session.execute(text("SELECT 1")),
            lambda: shop.db.session.add(shop.Note()),
            lambda: shop.db.paginate(select(shop.Note)),
        ):
            with pytest.raises(NoCurrentTenantError):
                serve()
        shop.db.session.remove()


def test_tenants_alternate_in_one_application_context(shop: Shop) -> None:
    with shop.make_app().app_context():
        for key in KEYS:
            with tenant_context(shop.tenancy.get(key)):
                shop.db.session.add(shop.Note(text=f"of {key}"))
                shop.db.session.commit()
        for key in KEYS * 2:
            with tenant_context(shop.tenancy.get(key)):
                assert [note.text for note in shop.Note.query] == [f"of {key}"]
                assert shop.db.session() is shop.kit.session
    assert shop.tenancy.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_requests_in_one_application_context_serve_their_own_tenants(shop: Shop) -> None:
    app = shop.make_app()
    with app.app_context():  # as fixtures of test suites often do
        client = app.test_client()
        for key in KEYS:
            client.post(f"/t/{key}/notes/of-{key}")
        for key in KEYS:
            assert client.get(f"/t/{key}/notes").json == [f"of-{key}"]


def test_sessions_end_with_the_request_or_the_context(shop: Shop) -> None:
    app = shop.make_app()
    sessions: list[Any] = []

    @app.get("/session")
    def session() -> Any:
        shop.db.session.execute(select(shop.Note))
        sessions.append(shop.db.session())
        g.used = True
        return {}

    client = app.test_client()
    client.get("/t/acme/session")
    client.get("/t/acme/session")
    assert sessions[0] is not sessions[1]
    assert shop.tenancy.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with app.app_context(), tenant_context(shop.tenancy.get("acme")):
        first = shop.db.session()
        assert shop.db.session() is first
        shop.db.session.remove()
        assert shop.db.session() is not first


def test_each_tenant_has_a_session_of_its_own(shop: Shop) -> None:
    with shop.make_app().app_context():
        with tenant_context(shop.tenancy.get("acme")):
            session = shop.db.session()
            session.add(note := shop.Note(text="of acme"))
            session.commit()
        with tenant_context(shop.tenancy.get("beta")):
            with pytest.raises(TenantMismatchError):
                session.scalars(select(shop.Note))
            with pytest.raises(TenantMismatchError):
                shop.db.session.merge(note)
            assert shop.Note.query.all() == []
            shop.db.session.remove()
            with pytest.raises(TenantMismatchError):
                shop.db.session(tenant="acme")
            with closing(shop.db.session(autoflush=False)) as other:
                assert other.autoflush is False


def test_signals_and_events_of_flask_sqlalchemy_work(shop: Shop) -> None:
    app = shop.make_app(SQLALCHEMY_TRACK_MODIFICATIONS=True, SQLALCHEMY_RECORD_QUERIES=True)
    seen: list[Any] = []

    @event.listens_for(shop.db.session, "before_commit")
    def remember(session: Any) -> None:
        seen.append(session.tenant.key)

    def committed(_app: Flask, changes: Any) -> None:
        seen.extend(change for _model, change in changes)

    with models_committed.connected_to(committed), app.app_context(), tenant_context(shop.tenancy.get("acme")):
        shop.db.session.add(shop.Note(text="of acme"))
        shop.db.session.commit()
        recorded = flask_sqlalchemy.record_queries.get_recorded_queries()
        assert any("INSERT INTO" in (query.statement or "") for query in recorded)
    assert seen == ["acme", "insert"]


def test_a_session_can_join_the_transaction_of_a_test(shop: Shop) -> None:
    app = shop.make_app()
    with app.app_context(), tenant_context(shop.tenancy.get("acme")):
        with shop.tenancy.engine.connect() as connection, connection.begin() as transaction:
            session = shop.db.session(bind=connection, join_transaction_mode="create_savepoint")
            session.add(shop.Note(text="for the test"))
            session.commit()
            assert shop.Note.query.count() == 1
            shop.db.session.remove()
            transaction.rollback()
        assert shop.Note.query.count() == 0


def test_the_engine_is_the_tenancys(shop: Shop) -> None:
    configured = shop.tenancy.engine.url.render_as_string(hide_password=False)
    for config in ({}, {"SQLALCHEMY_DATABASE_URI": configured}, {"SQLALCHEMY_DATABASE_URI": shop.tenancy.engine.url}):
        with shop.make_app(**config).app_context():
            assert shop.db.engine is shop.tenancy.engine


@pytest.mark.parametrize(
    "config",
    [
        {"SQLALCHEMY_DATABASE_URI": "sqlite://"},
        {"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg://localhost/another"},
        {"SQLALCHEMY_BINDS": {None: "sqlite://"}},
        {"SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": 3}},
        {"SQLALCHEMY_ECHO": True},
    ],
)
def test_settings_for_another_engine_are_refused(shop: Shop, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"make the tenancy from|Use Tenancy\(\.\.\., engine_options="):
        shop.make_app(**config)


@pytest.mark.parametrize(
    "options",
    [
        {"engine_options": {"pool_size": 3}},
        {"session_options": {"class_": Session}},
        {"session_options": {"class_": "TenantSession"}},
        {"session_options": {"class_": flask_sqlalchemy.session.Session}},
        {"session_options": {"scopefunc": lambda: 1}},
        {"session_options": {"tenant": "acme"}},
        {"session_options": {"misspelt": 1}},
        {"session_options": {"bind": create_engine("postgresql+psycopg://")}},
    ],
)
def test_options_for_another_session_or_engine_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SQLAlchemy(**options)


def test_a_session_class_of_the_application_is_used(database: URL) -> None:
    class AppSession(TenantSession):
        pass

    shop = Shop(database, session_options={"class_": AppSession, "autoflush": False})
    with closing(shop.tenancy), shop.make_app().app_context(), tenant_context(shop.tenancy.get("acme")):
        assert isinstance(shop.db.session(), AppSession)
        assert not shop.kit.session.autoflush


def test_models_with_a_bind_key_are_refused_in_tenants_sessions(shop: Shop, make_database: Callable[..., URL]) -> None:
    model: Any = shop.db.Model

    class Event(model):
        __bind_key__ = "warehouse"
        id = shop.db.Column(shop.db.Integer, primary_key=True)

    app = shop.make_app(SQLALCHEMY_BINDS={"warehouse": make_database()})
    with app.app_context(), tenant_context(shop.tenancy.get("acme")):
        shop.db.create_all("warehouse")
        with pytest.raises(ConfigurationError, match="bind key"):
            Event.query.all()
        with Session(shop.db.engines["warehouse"]) as session:
            assert session.scalars(select(Event)).all() == []
        shop.db.drop_all(["warehouse"])
        shop.db.engines["warehouse"].dispose()


def test_shared_models_may_have_a_bind_key(empty_database: URL) -> None:
    db: Any = SQLAlchemy(metadata=MetaData(schema="tenant"))

    class Colour(db.Model):
        __bind_key__ = "shared"
        __table_args__ = ({"schema": "shared"},)
        name = db.Column(db.String, primary_key=True)

    class Note(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    tenancy = Tenancy(empty_database, shared=db.metadatas["shared"], tenant=db.metadata, listen=False)
    app = Flask(__name__)
    app.config["SQLALCHEMY_BINDS"] = {"shared": empty_database}
    kit = TenantKit()
    kit.init_app(app, tenancy, resolver=RESOLVER)
    db.init_app(app)
    tenancy.install()
    with closing(tenancy), app.app_context():
        with db.engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA shared"))
        db.create_all("shared")
        assert inspect(tenancy.engine).get_table_names(schema="shared") == ["colour"]
        with tenant_context(tenancy.create("acme")):
            db.session.add_all([Colour(name="red"), Note()])
            db.session.commit()
            assert (Colour.query.count(), Note.query.count()) == (1, 1)


@pytest.mark.parametrize("keys", ["__all__", None, [None]])
def test_create_all_is_refused(shop: Shop, keys: Any) -> None:
    with shop.make_app().app_context():
        for change in (shop.db.create_all, shop.db.drop_all):
            with pytest.raises(ConfigurationError, match=r"tenancy.create\(key\)"):
                change(keys)


def test_an_application_without_its_tenancy_is_refused(shop: Shop, database: URL) -> None:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    with pytest.raises(ConfigurationError, match="kit.init_app"):
        shop.db.init_app(app)
    other = SQLAlchemy()
    shop.kit.init_app(app, shop.tenancy, resolver=RESOLVER)
    with pytest.raises(ConfigurationError, match=r"tenant=db\.metadata"):
        other.init_app(app)
    with pytest.raises(ConfigurationError, match=r"tenant=db\.metadata"):
        SQLAlchemy(app)


def make_plain(url: URL, placeholder: str | None) -> tuple[Any, Tenancy, Flask]:
    db: Any = flask_sqlalchemy.SQLAlchemy(metadata=MetaData(schema=placeholder))

    class Note(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI=url, TESTING=True)
    app.add_url_rule("/notes", view_func=lambda: jsonify(db.session.query(Note).count()))
    return db, Tenancy(url, tenant=db.metadata, placeholder=placeholder, listen=False), app


@pytest.mark.parametrize("first", ["db", "kit"])
def test_flask_sqlalchemys_own_sessions_are_refused_if_they_would_use_public(empty_database: URL, first: str) -> None:
    db, tenancy, app = make_plain(empty_database, placeholder=None)
    kit = TenantKit()
    with closing(tenancy):
        tenancy.install()
        tenancy.create("acme")
        if first == "db":
            db.init_app(app)
            with pytest.raises(ConfigurationError, match=r"tenantkit.flask_sqlalchemy.SQLAlchemy"):
                kit.init_app(app, tenancy, resolver=RESOLVER)
        else:
            kit.init_app(app, tenancy, resolver=RESOLVER)
            db.init_app(app)
            with pytest.raises(ConfigurationError, match=r"tenantkit.flask_sqlalchemy.SQLAlchemy"):
                app.test_client().get("/t/acme/notes")


def test_flask_sqlalchemys_own_sessions_find_no_table_of_a_placeholder(empty_database: URL) -> None:
    db, tenancy, app = make_plain(empty_database, placeholder="tenant")
    with closing(tenancy):
        db.init_app(app)
        TenantKit().init_app(app, tenancy, resolver=RESOLVER)
        tenancy.install()
        tenancy.create("acme")
        with pytest.raises(ProgrammingError, match=r'relation "tenant.note" does not exist'):
            app.test_client().get("/t/acme/notes")
        with app.app_context():
            db.engine.dispose()
