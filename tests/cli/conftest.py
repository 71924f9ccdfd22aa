"""A project on a database whose registry and shared tables are migrated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine

from tests.cli.project import Project


@contextmanager
def project_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Project]:
    """Yield a project in *folder*, which commands run in."""
    monkeypatch.delenv("TENANTKIT_APP", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = Project(folder)
    monkeypatch.chdir(folder)
    yield project
    project.forget_modules()


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Project]:
    """A project whose database is not set; commands run in its folder."""
    with project_in(tmp_path, monkeypatch) as project:
        yield project


@pytest.fixture(scope="session")
def templates(make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory) -> dict[str, URL]:
    """Databases to copy: with the registry and the shared tables, and with three tenants besides."""
    migrated = make_template()
    with (
        pytest.MonkeyPatch.context() as patch,
        project_in(tmp_path_factory.mktemp("template"), patch) as project,
    ):

        def run(url: URL, *arguments: str) -> None:
            patch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
            done = project.invoke(*arguments)
            assert done.code == 0, done.err

        run(migrated, "migrate")
        fleet = make_template(migrated.database or "")
        for key in ("acme", "initech", "umbrella"):
            run(fleet, "create", key)
    return {"migrated": migrated, "fleet": fleet}


@pytest.fixture
def project_url(request: pytest.FixtureRequest, make_database: Callable[..., URL], templates: dict[str, URL]) -> URL:
    """The project's database, with tenants if the test asks for the fleet."""
    return make_database(templates["fleet" if "fleet" in request.fixturenames else "migrated"].database or "")


@pytest.fixture
def project(bare_project: Project, project_url: URL, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose database is migrated, without tenants."""
    monkeypatch.setenv("DATABASE_URL", project_url.render_as_string(hide_password=False))
    return bare_project


@pytest.fixture
def fleet(project: Project) -> Project:
    """The project with the tenants acme, initech and umbrella."""
    return project


@pytest.fixture
def project_engine(project_url: URL) -> Generator[Engine]:
    """An engine for queries of the project's database from outside."""
    engine = create_engine(project_url)
    yield engine
    engine.dispose()
