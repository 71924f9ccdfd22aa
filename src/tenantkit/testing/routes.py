"""The routes of an application: from its OpenAPI document, its URL map, or a list of requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.testing.clients import SAFE, Request
from tenantkit.testing.schemas import Schema, resolve

_METHODS = ("get", "put", "post", "delete", "patch", "options", "head", "trace")
_ORDER = ("POST", "PUT", "PATCH", "DELETE")
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route."""

    name: str
    place: str = "path"
    """``path``, ``query`` or ``header``."""
    schema: Schema = field(default_factory=dict[str, Any])
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of an application, with what it expects."""

    method: str
    path: str
    """With ``{name}`` for each parameter."""
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    """The JSON schema of the body, if it is JSON or a form."""
    is_form: bool = False
    obstacle: str | None = None
    """The reason for which no request can be made."""
    request: Request | None = None
    """The request that the caller gave."""

    @property
    def name(self) -> str:
        """The method and the path."""
        return f"{self.method} {self.path}"


def routes_of(app: Any, requests: Iterable[Request]) -> tuple[list[Route], Schema]:
    """Return the routes of *app*, those that change nothing first, and the document that their schemas refer to.

    A given request replaces the route with its method and path, or is one more.

    :raises ConfigurationError: if there are none.
    """
    document: Schema = {}
    found: list[Route] = []
    if callable(getattr(app, "openapi", None)):
        document = app.openapi()
        found = list(_from_openapi(document))
        found += _without_document(app, {each.name for each in found})
    elif hasattr(app, "url_map"):
        found = list(_from_url_map(app.url_map))
    given = [
        Route(each.method.upper(), each.path, tuple(map(Parameter, re.findall(r"{(\w+)}", each.path))), request=each)
        for each in requests
    ]
    names = {each.name for each in given}
    routes = [each for each in found if each.name not in names] + given
    if not routes:
        raise ConfigurationError(
            "The application has neither an OpenAPI document nor a URL map: list its requests, "
            'requests=[Request(method="GET", path="/notes")].'
        )
    return sorted(routes, key=_order), document


def _order(route: Route) -> tuple[int, bool]:
    """Let what changes nothing come first, and what ends the log-in or deletes rows last."""
    method = _ORDER.index(route.method) + 1 if route.method in _ORDER else 0
    return (method, False) if not re.search(r"log-?out|sign-?out", route.path) else (len(_ORDER) + 1, True)


def _from_openapi(document: Schema) -> Iterator[Route]:
    for path, item in document.get("paths", {}).items():
        for method in (each for each in _METHODS if each in item):
            operation = item[method]
            given = [
                resolve(each, document) for each in (*item.get("parameters", ()), *operation.get("parameters", ()))
            ]
            parameters = tuple(
                Parameter(each["name"], each["in"], each.get("schema", {}), each.get("required", False))
                for each in given
                if each["in"] != "cookie"
            )
            content = resolve(operation.get("requestBody", {}), document).get("content", {})
            kind = next((each for each in (_JSON, _FORM) if each in content), None)
            obstacle = f"its body is {', '.join(content)}" if content and kind is None else None
            body = content[kind].get("schema", {}) if kind else None
            yield Route(method.upper(), path, parameters, body, kind == _FORM, obstacle)


def _without_document(app: Any, known: set[str]) -> Iterator[Route]:
    """Yield the routes of a FastAPI application that its document leaves out."""
    from fastapi.routing import iter_route_contexts  # noqa: PLC0415 - an extra, imported here only

    for each in iter_route_contexts(app.routes):
        path: str = re.sub(r"{(\w+):\w+}", r"{\1}", getattr(each, "path", None) or "/")
        methods: set[str] = getattr(each, "methods", None) or set()
        if not methods:  # a websocket, or an application that is mounted
            yield Route("ANY", path, obstacle="it is not in the OpenAPI document: list its requests")
        for method in sorted(methods - {"HEAD", "OPTIONS"}):
            route = Route(method, path, tuple(map(Parameter, re.findall(r"{(\w+)}", path))))
            if route.name not in known:
                yield route


def _from_url_map(url_map: Any) -> Iterator[Route]:
    for rule in url_map.iter_rules():
        path = re.sub(r"<(?:[^<>:]+:)?(\w+)>", r"{\1}", rule.rule)
        numbers: set[str] = {name for name, each in rule._converters.items() if "Integer" in type(each).__name__}  # noqa: SLF001 - there is no public way to know
        names: list[str] = re.findall(r"{(\w+)}", path)
        parameters = tuple(Parameter(name, schema={"type": "integer"} if name in numbers else {}) for name in names)
        methods: set[str] = rule.methods or set()
        for method in sorted(methods - {"HEAD", "OPTIONS"}):
            yield Route(method, path, parameters, is_form=method not in SAFE)
