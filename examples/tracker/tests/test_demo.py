"""The demonstration: a first run, a second run, and failures."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from sqlalchemy import URL, select

from examples import start
from examples.tracker import demo, sample
from examples.tracker.accounts import hash_password
from examples.tracker.app import make_tenancy
from examples.tracker.models import Project
from tenantkit import Tenancy
from tenantkit.embedded import embedded_database

pytestmark = pytest.mark.all_cases


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.tracker.demo", "--folder", str(folder), "--tenants", "3"],
        cwd=demo.PROJECT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_runs_in_an_empty_folder_and_once_more(tmp_path: Path) -> None:
    first, second = run(tmp_path / "project"), run(tmp_path / "project")

    for result in (first, second):
        assert result.returncode == 0, result.stdout + result.stderr
        assert "all 24 reads had only rows of their own tenant" in result.stdout
        assert "0010 → 0011: 3 migrated, 0 unchanged, 0 failed" in result.stdout
        assert "TenantMismatchError" in result.stdout
        assert "make flask" in result.stdout
    assert "Removing an earlier run" not in first.stdout
    assert "Removing an earlier run" in second.stdout


def test_data_of_the_applications_is_kept(tmp_path: Path) -> None:
    with closing(make_tenancy(embedded_database(tmp_path, "tracker"), listen=False)) as tenancy:
        start.prepare(tenancy)
        key = tenancy.list(limit=1)[0].key
        with tenancy.session(key) as session:
            session.scalars(select(Project).limit(1)).one().name = "Written by hand"
            session.commit()
        ids = [tenant.id for tenant in tenancy.list()]

        result = run(tmp_path)

        assert result.returncode == 0, result.stdout + result.stderr
        assert [tenant.id for tenant in tenancy.list()] == ids
        with tenancy.session(key) as session:
            assert "Written by hand" in session.scalars(select(Project.name)).all()


def test_a_row_of_another_tenant_makes_it_fail(
    tenancy: Tenancy, tracker_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    acme, globex, *_ = sample.COMPANIES
    password_hash = hash_password(sample.PASSWORD)
    for company in (acme, globex):
        demo.create(tenancy, company)
    written = {company: demo.load(tenancy, company, password_hash) for company in (acme, globex)}
    asyncio.run(demo.read_back(tenancy, tracker_url, written))
    mixed_up = {**written, acme: replace(written[acme], digest=written[globex].digest)}

    with pytest.raises(typer.Exit) as exit_:
        asyncio.run(demo.read_back(tenancy, tracker_url, mixed_up))

    assert exit_.value.exit_code == 1
    assert "8 of 16 reads had rows of other tenants" in capsys.readouterr().out


def test_other_tenants_than_samples_are_kept(tenancy: Tenancy) -> None:
    tenancy.create("acme")
    demo.create(tenancy, sample.COMPANIES[1])

    demo.prepare(tenancy)

    assert [tenant.key for tenant in tenancy.list()] == ["acme"]
