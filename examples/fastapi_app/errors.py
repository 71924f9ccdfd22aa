"""Errors: JSON for programs, a page for browsers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tenantkit.resolvers import Refusal

_PAGE = Template((Path(__file__).parent / "page" / "error.html").read_text(encoding="utf-8"))
_TITLES = {404: "This page does not exist", 503: "Temporarily unavailable"}


def init_app(app: FastAPI) -> None:
    """Register the error handlers of *app*."""

    async def show(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return _answer(request, error.status_code, error.detail, error.headers or {})

    async def refuse_value(request: Request, _error: Exception) -> Response:
        return _answer(request, 400, "The request has a value that cannot be stored.", {})

    async def refuse_body(_request: Request, error: Exception) -> Response:
        # Without the values, which may be passwords or invalid Unicode.
        found = error.errors() if isinstance(error, RequestValidationError) else []
        return JSONResponse({"detail": [{name: each[name] for name in ("type", "loc", "msg")} for each in found]}, 422)

    app.add_exception_handler(HTTPException, show)
    app.add_exception_handler(DataError, refuse_value)  # such as a NUL in a text, or an id outside of bigint
    app.add_exception_handler(RequestValidationError, refuse_body)


def refuse(refusal: Refusal) -> ASGIApp:
    """Return the response to a request that the middleware refuses."""
    detail = refusal.detail if refusal.until is None else f"{refusal.detail} (until {refusal.until:%Y-%m-%d %H:%M %Z})"

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = _answer(HTTPConnection(scope), refusal.status, detail, refusal.headers)
        await response(scope, receive, send)

    return answer


def _answer(connection: HTTPConnection, status: int, detail: str, headers: Mapping[str, str]) -> Response:
    headers = {**headers, "Vary": "Accept"}
    if "text/html" not in connection.headers.get("accept", ""):
        return JSONResponse({"detail": detail}, status, headers)
    root = escape(connection.scope.get("root_path", ""))
    page = _PAGE.substitute(root=root, title=escape(_TITLES.get(status, detail)), detail=escape(detail))
    return HTMLResponse(page, status, headers)
