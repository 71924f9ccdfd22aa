"""A small application, and the leaks that can be planted in it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify
from sqlalchemy import ForeignKey, MetaData, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tenantkit import Tenancy, current_tenant
from tenantkit.flask import TenantKit
from tenantkit.resolvers import Subdomain


class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="common")


class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant")


class Entry(SharedBase):
    """Tenant data where it should not be."""

    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_key: Mapped[str]
    line: Mapped[str]


class Folder(TenantBase):
    __tablename__ = "folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)


class Note(TenantBase):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    folder_id: Mapped[int] = mapped_column(ForeignKey(Folder.id))


class App:
    """The application, with a tenancy and its Flask."""

    def __init__(self, tenancy: Tenancy) -> None:
        self.tenancy = tenancy
        self.flask = Flask("leaky")
        self.kit = TenantKit()
        self.kit.init_app(self.flask, tenancy, resolver=Subdomain("localhost"))
        self.kept: dict[Any, Any] = {}
        """What outlives a request."""
        self.flask.add_url_rule("/notes", view_func=self.list_notes)
        self.flask.add_url_rule("/notes/<int:id>", view_func=self.show_note)
        self.flask.add_url_rule("/notes", "add", self.add_note, methods=["POST"])

    def list_notes(self) -> Response:
        return jsonify([note.text for note in self.kit.session.scalars(select(Note))])

    def show_note(self, id: int) -> Response:  # noqa: A002 - Flask hands parameters over by their names
        return jsonify(self.kit.session.get_one(Note, id).text)

    def add_note(self) -> Response:
        self.kit.session.add(Note(text="new", folder_id=self.kit.session.scalars(select(Folder.id).limit(1)).one()))
        self.kit.session.commit()
        return Response(status=204)

    def note(self) -> Note:
        """Return a note of the current tenant."""
        return self.kit.session.scalars(select(Note).order_by(Note.id.desc()).limit(1)).one()

    def another(self, visitor: str) -> str:
        """Return the key of another tenant."""
        return next(each.key for each in self.tenancy.list() if each.key != visitor)


Leak = Callable[[App], None]


def cache_of_objects(app: App) -> None:
    """Notes are kept by their primary key."""

    def show(note_id: int) -> Response:
        if note_id not in app.kept:
            app.kept[note_id] = app.kit.session.get_one(Note, note_id)
            app.kit.session.expunge(app.kept[note_id])
        return jsonify(app.kept[note_id].text)

    app.flask.add_url_rule("/cached/<int:note_id>", view_func=show)


def schema_in_text(app: App) -> None:
    """A query names a schema."""

    def show() -> Response:
        return jsonify(app.kit.session.scalars(text("SELECT text FROM t_globex.note")).all())

    app.flask.add_url_rule("/report", view_func=show)


def shared_table(app: App) -> None:
    """A shared table has lines of all tenants, which nobody filters."""

    def show() -> Response:
        return jsonify(app.kit.session.scalars(select(Entry.line)).all())

    app.flask.add_url_rule("/entries", view_func=show)


def kept_session(app: App) -> None:
    """The session of the first visitor is kept."""

    def show() -> Response:
        session: Session = app.kept.setdefault("session", app.tenancy.session(current_tenant()))
        return jsonify([note.text for note in session.scalars(select(Note))])

    app.flask.add_url_rule("/kept", view_func=show)


class Settings:
    """What a class remembers, all instances do."""

    motto: str | None = None


def class_attribute(app: App) -> None:
    """A class attribute is set by the first visitor."""
    Settings.motto = None

    def show() -> Response:
        Settings.motto = Settings.motto or app.note().text
        return jsonify(Settings.motto)

    app.flask.add_url_rule("/motto", view_func=show)


def cached_response(app: App) -> None:
    """The list is kept by its path, whatever the host."""
    inner = app.flask.wsgi_app

    def serve(environ: Any, start: Any) -> Any:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or path != "/notes":
            return inner(environ, start)
        if path not in app.kept:
            app.kept[path] = Response.from_app(inner, environ, buffered=True)
        return app.kept[path](environ, start)

    app.flask.wsgi_app = serve


def log_line(app: App) -> None:
    """A log record has what the visitor before had."""

    def show() -> Response:
        logging.getLogger("leaky.audit").info("before that: %s", app.kept.get("last"))
        app.kept["last"] = app.note().text
        return jsonify(app.note().text)

    app.flask.add_url_rule("/logged", view_func=show)


def background_read(app: App) -> None:
    """A task in the background reads rows of another tenant, and shows nobody."""

    def work(visitor: str) -> None:
        with app.tenancy.session(app.another(visitor)) as session:
            session.scalars(select(Note)).all()

    app.flask.add_url_rule("/background", view_func=in_background(work))


def background_write(app: App) -> None:
    """A task in the background writes to another tenant."""

    def work(visitor: str) -> None:
        with app.tenancy.session(app.another(visitor)) as session:
            session.add(Folder(title=f"for {visitor} {threading.get_ident()}"))
            session.commit()

    app.flask.add_url_rule("/background", view_func=in_background(work), methods=["POST"])


def in_background(work: Callable[[str], None]) -> Callable[[], Response]:
    def view() -> Response:
        thread = threading.Thread(target=work, args=(current_tenant().key,))
        thread.start()
        thread.join()
        return Response(status=204)

    return view


def header(app: App) -> None:
    """A header has what the visitor before had."""

    def show() -> Response:
        response = Response(headers={"X-Last": app.kept.get("last", "")})
        app.kept["last"] = app.note().text
        return response

    app.flask.add_url_rule("/header", view_func=show)


def sent_before(app: App) -> None:
    """What one tenant has sent is shown to the next one."""

    def show() -> Response:
        return jsonify(app.kept.get("form"))

    def take() -> Response:
        app.kept["form"] = app.note().text
        return Response(status=204)

    app.flask.add_url_rule("/form", "show", show)
    app.flask.add_url_rule("/form", "take", take, methods=["POST"])
