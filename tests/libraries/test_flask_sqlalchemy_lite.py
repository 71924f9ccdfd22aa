"""Flask-SQLAlchemy-Lite: its plain sessions are refused for tenant tables without a schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import URL, Column, Integer, MetaData, Table

from tenantkit import ConfigurationError, Tenancy
from tenantkit.flask import TenantKit
from tenantkit.resolvers import PathPrefix

lite: Any = pytest.importorskip("flask_sqlalchemy_lite", reason="'make test-libraries' installs Flask-SQLAlchemy-Lite")


@pytest.mark.parametrize("first", ["db", "kit"])
@pytest.mark.parametrize("placeholder", [None, "tenant"])
def test_sessions_that_would_serve_public_are_refused(
    make_tenancy: Callable[..., Tenancy], database: URL, placeholder: str | None, first: str
) -> None:
    metadata = MetaData(schema=placeholder)
    Table("note", metadata, Column("id", Integer, primary_key=True))
    tenancy = make_tenancy(tenant=metadata, shared=None, placeholder=placeholder)
    tenancy.create("acme")
    app = Flask(__name__)
    app.config.update(TESTING=True, SQLALCHEMY_ENGINES={"default": database})
    app.add_url_rule("/", view_func=lambda: "served")
    setups = [
        lambda: lite.SQLAlchemy().init_app(app),
        lambda: TenantKit().init_app(app, tenancy, resolver=PathPrefix("/t")),
    ]

    def serve() -> str:
        for set_up in setups if first == "db" else reversed(setups):
            set_up()
        return app.test_client().get("/t/acme/").text

    if placeholder is None:
        with pytest.raises(ConfigurationError, match="the schema public"):
            serve()
    else:
        assert serve() == "served"
