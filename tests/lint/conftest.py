"""Fixtures that lint revisions of the small application, without a database."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tenantkit import Tenancy
from tenantkit.lint import Finding, lint, squawk
from tenantkit.migrations import init
from tests.support.models import APPLICATION

Lint: TypeAlias = Callable[..., list[Finding]]


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """An environment without revisions."""
    init(tmp_path / "migrations")
    return tmp_path / "migrations"


@pytest.fixture
def nowhere(migrations: Path) -> Generator[Callable[..., Tenancy]]:
    """Make a tenancy whose server does not exist."""
    made: list[Tenancy] = []

    def make(**options: Any) -> Tenancy:
        url = "postgresql://nobody@192.0.2.1/nothing?connect_timeout=1"
        made.append(Tenancy(url, **{**APPLICATION, "migrations": migrations, "listen": False, **options}))
        return made[-1]

    yield make
    for tenancy in made:
        tenancy.close()


@pytest.fixture
def lint_file(migrations: Path, nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch) -> Lint:
    """Write a revision, and return the findings of tenantkit's own rules."""
    monkeypatch.setattr(squawk, "find", lambda: None)

    def run(text: str, *, line: str = "tenant", name: str = "r1", **options: Any) -> list[Finding]:
        (migrations / line / f"{name}.py").write_text(text)
        return list(lint(nowhere(**options)).findings)

    return run
