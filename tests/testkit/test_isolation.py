"""Applications of any kind are driven, and what was not proven is told."""

from __future__ import annotations

import asyncio
import enum
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, File, Form, WebSocket
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter
from sqlalchemy import select, text
from sqlalchemy.orm import undefer

from tenantkit import ConfigurationError, Tenancy, TenantSession, current_tenant
from tenantkit.asgi import TenantMiddleware as AsgiMiddleware
from tenantkit.fastapi import TenantMiddleware, tenant_session
from tenantkit.resolvers import Header, Subdomain
from tenantkit.testing import Client, LeakError, Request, UnprovenWarning, assert_isolated, plant, tripwire
from tenantkit.testing.filling import Filler, UnknownParameterError
from tenantkit.testing.routes import Parameter, Route
from tenantkit.testing.schemas import Examples
from tenantkit.testing.transports import open_transport
from tenantkit.wsgi import TenantMiddleware as WsgiMiddleware
from tests.testkit import leaky
from tests.testkit.leaky import Folder, Note

NOTES = [Request(method="GET", path="/notes"), Request(method="GET", path="/notes/{id}")]


@pytest.fixture
def tenancy(leaky_app: leaky.App) -> Tenancy:
    return leaky_app.tenancy


def wsgi(tenancy: Tenancy) -> Any:
    def app(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "application/json"), ("Set-Cookie", f"seen={current_tenant().key}; Path=/")])
        number = environ["PATH_INFO"].removeprefix("/notes").strip("/")
        with tenancy.session() as session:
            query = select(Note.text).where(Note.id == int(number)) if number else select(Note.text)
            return [json.dumps(session.scalars(query).all()).encode()]

    return WsgiMiddleware(app, tenancy, resolver=Subdomain("localhost"))


def asgi(tenancy: Tenancy, *, fails: bool = False, late: str = "") -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert await receive() == {"type": "lifespan.startup"}
            scope["state"]["ready"] = True
            await send({"type": "lifespan.startup.complete"})
            assert await receive() == {"type": "lifespan.shutdown"}
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"]["ready"]
        if fails:
            raise RuntimeError("no notes today")
        with tenancy.session() as session:
            found = json.dumps(session.scalars(select(Note.text)).all()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"notes")]})
        await send({"type": "http.response.body", "body": found[:10], "more_body": True})
        await send({"type": "http.response.body", "body": found[10:]})
        if late:
            with tenancy.session(late) as session:
                logging.getLogger("late").info("%s", session.scalars(select(Note.text)).all())

    return AsgiMiddleware(app, tenancy=tenancy, resolver=Subdomain("localhost"))


@pytest.mark.parametrize("make", [wsgi, asgi])
def test_any_application_is_driven_by_a_list_of_requests(tenancy: Tenancy, make: Callable[..., Any]) -> None:
    report = assert_isolated(tenancy, make(tenancy), requests=NOTES if make is wsgi else NOTES[:1])
    assert {each for each in report.proven if " " in each} == {
        f"{each.method} {each.path}" for each in (NOTES if make is wsgi else NOTES[:1])
    }
    assert report.unproven == {}


def test_work_after_the_response_is_watched(tenancy: Tenancy) -> None:
    with pytest.raises(LeakError, match=r"GET /notes: log record of late, as acme: note.text of globex"):
        assert_isolated(tenancy, asgi(tenancy, late="globex"), requests=NOTES[:1])


def test_a_test_that_sees_nothing_fails_and_shows_the_exception(tenancy: Tenancy) -> None:
    with pytest.raises(LeakError) as found:
        assert_isolated(tenancy, asgi(tenancy, fails=True), requests=NOTES[:1])
    assert "This has proven nothing: no response to acme had any of its own rows." in str(found.value)
    assert "GET /notes: it raised RuntimeError: no notes today" in str(found.value)


def test_a_client_logs_in_and_keeps_its_cookies(tenancy: Tenancy) -> None:
    app = AsgiMiddleware(asgi(tenancy).app, tenancy=tenancy, resolver=Header("X-Tenant"))
    clients: list[Client] = []

    def login(client: Client) -> None:
        client.headers["X-Tenant"] = client.tenant.key
        clients.append(client)

    assert_isolated(tenancy, app, base_url=lambda _: "http://example.com", login=login, requests=NOTES[:1])
    assert [each.tenant.key for each in clients] == ["acme", "globex"]
    with open_transport(wsgi(tenancy), tenancy) as transport:
        client = Client(transport, tenancy.get("acme"), "http://acme.localhost/")
        assert client.get("/notes").status == 200
        assert client.cookies == {"seen": "acme"}


@pytest.mark.parametrize("blind", ["acme", "globex"])
def test_each_tenant_must_have_seen_its_own_rows(tenancy: Tenancy, blind: str) -> None:
    inner = wsgi(tenancy)

    def app(environ: Any, start: Any) -> Any:
        if environ["HTTP_HOST"].startswith(blind):
            start("401 UNAUTHORIZED", [])
            return [b"Log in first."]
        return inner(environ, start)

    with pytest.raises(LeakError, match=f"no response to {blind} had any of its own rows"):
        assert_isolated(tenancy, app, requests=NOTES)


def test_an_asynchronous_application_is_driven_in_an_event_loop_of_its_own(tenancy: Tenancy) -> None:
    async def test() -> None:
        assert_isolated(tenancy, asgi(tenancy), requests=NOTES[:1])

    with pytest.raises(ConfigurationError, match="call it in a test that is a plain function"):
        asyncio.run(test())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip": ["GET /nots"], "requests": NOTES}, "skip= names 'GET /nots', which the application has no route for"),
        ({}, r"list its requests, requests=\[Request"),
        ({"tenants": ["acme"]}, "It takes two active tenants, and there are 1"),
    ],
)
def test_what_cannot_be_driven_is_refused(tenancy: Tenancy, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        assert_isolated(tenancy, wsgi(tenancy), **options)


SessionDep = Annotated[TenantSession, Depends(tenant_session)]


def api(tenancy: Tenancy) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.state.ready = asyncio.get_running_loop()
        yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(TenantMiddleware, tenancy=tenancy, resolver=Subdomain("localhost"))

    @app.get("/folders/{folder_id}")
    def show_folder(folder_id: int, session: SessionDep, tasks: BackgroundTasks) -> dict[str, Any]:
        tasks.add_task(lambda: None)
        folder = session.get(Folder, folder_id)
        return {"title": folder.title if folder else None}

    @app.get("/notes")
    async def search(session: SessionDep, words: str = "", limit: int = 10) -> list[str]:
        assert asyncio.get_running_loop() is app.state.ready
        return list(session.scalars(select(Note.text).where(Note.text.contains(words)).limit(limit)))

    @app.post("/notes", status_code=201)
    def add(folder_id: Annotated[int, Form()], content: Annotated[str, Form()], session: SessionDep) -> str:
        session.add(Note(text=content, folder_id=folder_id))
        session.commit()
        return session.scalars(select(Folder.title).where(Folder.id == folder_id)).one()

    @app.post("/upload")
    def upload(file: Annotated[bytes, File()]) -> int:
        return len(file)

    @app.get("/hidden/{note_id:int}", include_in_schema=False)
    def show_note(note_id: int, session: SessionDep) -> str | None:
        return session.scalars(select(Note.text).where(Note.id == note_id)).one_or_none()

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None: ...

    @app.get("/by/{slug}")
    def by_slug(slug: str, session: SessionDep) -> list[str]:
        return list(session.scalars(select(Note.text).join(Folder).where(Folder.title == slug)))

    return app


def test_an_api_is_driven_by_its_document(tenancy: Tenancy) -> None:
    with pytest.warns(UnprovenWarning) as warned:
        report = assert_isolated(tenancy, api(tenancy))
    assert {each for each in report.proven if " " in each} == {
        "GET /folders/{folder_id}",
        "GET /hidden/{note_id}",
        "GET /notes",
        "POST /notes",
    }
    assert report.unproven["ANY /live"] == "it is not in the OpenAPI document: list its requests"
    assert report.unproven["POST /upload"] == "its body is multipart/form-data"
    assert "parameter 'slug': pass parameters={'slug': Model.column}" in report.unproven["GET /by/{slug}"]
    assert "POST /upload: its body is multipart/form-data" in str(warned[0].message)


def test_a_parameter_of_another_name_is_told(tenancy: Tenancy) -> None:
    with pytest.warns(UnprovenWarning, match=r"These failed:\n  POST /notes: it raised IntegrityError"):
        report = assert_isolated(
            tenancy, api(tenancy), parameters={"slug": Folder.title}, skip=["POST /upload", "ANY /live"]
        )
    assert report.proven >= {"GET /by/{slug}", "POST /notes"}
    assert report.unproven == {}


def test_the_tripwire_fails_at_once_and_only_while_it_is_set(tenancy: Tenancy) -> None:
    acme, globex = tenancy.get("acme"), tenancy.get("globex")
    canaries = plant(tenancy, [acme, globex])
    other = select(Note).from_statement(text("SELECT * FROM t_globex.note"))
    with tripwire(canaries), tenancy.session(acme) as session:
        assert session.scalars(select(Note).options(undefer("*"))).all()
        with pytest.raises(
            LeakError, match=r"session of acme loaded <Note .* while acme was served: its note.text is globex's"
        ):
            session.scalars(other).all()
    with tripwire(canaries), tenancy.session(acme) as session:
        own = session.scalars(select(Note).limit(1)).one()
        session.expire(own)
        session.execute(text("UPDATE note SET text = (SELECT text FROM t_globex.note LIMIT 1)"))
        with pytest.raises(LeakError, match="its note.text is globex's"):
            _ = own.text
    with tenancy.session(acme) as session:
        assert session.scalars(other).all()


class Kind(enum.Enum):
    A = "a"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=12, max_length=20)]
    parent: Inner | None = None


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(ge=5)]
    above: Annotated[float, Field(gt=3)]
    flag: bool
    kind: Kind
    inner: Inner
    several: Annotated[list[Inner], Field(min_length=2)]
    maybe: int | None
    either: date | int
    moment: datetime
    key: UUID
    url: AnyUrl
    short: Annotated[str, Field(max_length=3)]
    pattern: Annotated[str, Field(pattern="^[A-Z]{2}-[0-9]$", examples=["AB-1"])]
    constant: Annotated[str, Field(json_schema_extra={"const": "fixed"})]
    anything: Any
    table: dict[str, int]
    preset: str = "as it is"


def test_bodies_are_what_their_schemas_permit() -> None:
    schema = TypeAdapter(Body).json_schema()
    made = Examples(schema, "kzvhrp0c", lambda _: None).make(schema)
    body = Body.model_validate_json(json.dumps(made))
    assert (body.inner.name, body.constant, body.preset) == ("kzvhrp0cxxxx", "fixed", "as it is")
    assert body.moment == datetime(2026, 1, 1, tzinfo=UTC)


ROW = {Folder.__table__: {"id": 7, "title": "a title"}, Note.__table__: {"id": 8, "text": "a text", "folder_id": 7}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/folders/{id}", "/folders/7"),
        ("/notes/{id}", "/notes/8"),
        ("/notes/{note_id}", "/notes/8"),
        ("/n/{noteId}", "/n/8"),
        ("/n/{note}", "/n/8"),
        ("/folders/{folder_id}/notes/{note_id}", "/folders/7/notes/8"),
        ("/folders/{title}", "/folders/a%20title"),
        ("/x/{text}", "/x/a%20text"),
        ("/x/{other}", "/x/8"),
    ],
)
def test_a_parameter_is_the_column_that_its_name_suggests(path: str, expected: str) -> None:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    route = Route("GET", path, tuple(Parameter(name) for name in names))
    filler = Filler(ROW, "kzvhrp0c", {}, {"other": Note.id})
    assert filler.request(route).path == expected
    with pytest.raises(UnknownParameterError, match="parameters="):
        Filler(ROW, "kzvhrp0c", {}, {}).request(Route("GET", "/{nothing}", (Parameter("nothing"),)))
