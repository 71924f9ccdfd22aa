"""Error pages."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError
from werkzeug.exceptions import BadRequest, HTTPException, SecurityError

from examples.flask_app.extensions import kit
from tenantkit.context import current_tenant_or_none
from tenantkit.web.admission import REFUSAL

_TITLES = {
    404: "This page does not exist",
    413: "The request is too large",
    503: "Temporarily unavailable",
}
_TEXTS = {
    404: "Check the address. The page may have been removed.",
    413: "A request may have at most one megabyte.",
    500: "The server had an error.",
    503: "This tracker is not available. Please try again later, or ask its operator.",
}

_UNUSABLE = "The request has a value that cannot be stored, such as a NUL character."


def init_app(app: Flask) -> None:
    """Register the error pages of *app*."""
    app.register_error_handler(HTTPException, _show)
    app.register_error_handler(DataError, _refuse_value)


def _refuse_value(_error: DataError) -> ResponseReturnValue:
    kit.shared_session.rollback()
    if current_tenant_or_none() is not None:
        kit.session.rollback()  # the page has the name of the user who is logged in
    return _show(BadRequest(_UNUSABLE))


def _told() -> str | None:
    """Return what the operator tells the visitors of a tenant that is suspended or read-only."""
    refusal = request.environ.get(REFUSAL)
    tenant = current_tenant_or_none() if refusal is None else refusal.tenant
    if tenant is None or tenant.message is None:
        return None
    return tenant.message if tenant.until is None else f"{tenant.message} (until {tenant.until:%Y-%m-%d %H:%M %Z})"


def _show(error: HTTPException) -> ResponseReturnValue:
    code = error.code
    if code is None or code < HTTPStatus.BAD_REQUEST:  # a redirect
        return error
    if isinstance(error, SecurityError):  # an untrusted host, for which no link can be built
        return error
    text = _TEXTS.get(code, error.description)
    if code == HTTPStatus.SERVICE_UNAVAILABLE and (told := _told()) is not None:
        text = told
    if isinstance(error, CSRFError):
        text = "This form was open for too long, or your login has changed. Go back, reload the page and try again."
    refused = REFUSAL in request.environ  # at the address of a tenant that is not served, no link works
    response = error.get_response()  # with headers such as Retry-After
    response.set_data(
        render_template("error.html", title=_TITLES.get(code, error.name), text=text, code=code, refused=refused)
    )
    response.content_type = "text/html; charset=utf-8"
    return response
