"""An application that is tested with the fixtures, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from tenantkit import Tenancy
from tenantkit.testing.template import prepare
from tests.testkit import leaky
from tests.testkit.leaky import App

DECLARED = """
from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from tenantkit import Tenancy

class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="shared")

class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant")

class Country(SharedBase):
    __tablename__ = "country"
    code: Mapped[str] = mapped_column(primary_key=True)

class Note(TenantBase):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    country: Mapped[str | None] = mapped_column(ForeignKey(Country.code))

DECLARED = {"shared": SharedBase.metadata, "tenant": TenantBase.metadata}
"""

SYNC = "tenancy = Tenancy('postgresql://nobody:secret@127.0.0.1:1/production', **DECLARED)\n"

ASYNC = """
from tenantkit.asyncio import AsyncTenancy
tenancy = AsyncTenancy('postgresql+{driver}://nobody:secret@127.0.0.1:1/production', **DECLARED)
"""

PYPROJECT = """
[tool.tenantkit]
app = "shop.app:tenancy"

[tool.pytest.ini_options]
filterwarnings = ["error"]
addopts = ["-p", "no:cacheprovider", "-p", "no:randomly"]
"""


@dataclass(frozen=True)
class Shop:
    """A project's folder."""

    folder: Path
    server: URL

    def write(self, name: str, source: str) -> None:
        """Write a file."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the project's tests."""
        url = self.server.render_as_string(hide_password=False)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-ra", *arguments],
            cwd=self.folder,
            env={**os.environ, "TENANTKIT_TEST_URL": url, "PYTEST_ADDOPTS": "", **environment},
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def make_shop(tmp_path: Path, server_url: URL) -> Callable[..., Shop]:
    """Make a project with an application of the name ``shop.app``."""

    def make(app: str = SYNC) -> Shop:
        shop = Shop(tmp_path / "project", server_url)
        shop.write("shop/__init__.py", "")
        shop.write("shop/app.py", DECLARED + app)
        shop.write("pyproject.toml", PYPROJECT)
        return shop

    return make


@pytest.fixture
def leaky_app(make_tenancy: Callable[..., Tenancy], make_database: Callable[..., Any]) -> Generator[App]:
    tenancy = make_tenancy(database=make_database(), shared=leaky.SharedBase.metadata, tenant=leaky.TenantBase.metadata)
    prepare(tenancy)
    for key in ("acme", "globex"):
        tenancy.create(key)
    app = App(tenancy)
    yield app
    if "session" in app.kept:
        app.kept["session"].close()
