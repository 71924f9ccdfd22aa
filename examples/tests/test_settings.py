"""Settings from the environment."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from examples import settings
from examples.settings import database_url, read_settings

pytestmark = pytest.mark.all_cases


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "FOLDER", tmp_path / ".tenantkit")
    return tmp_path / ".tenantkit"


def test_a_secret_key_is_created_once_and_kept(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {each.secret_key for each in pool.map(lambda _: read_settings({}), range(8))}
    (key,) = keys
    assert len(key) >= 48
    assert [file.name for file in folder.iterdir()] == ["secret_key"]
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    assert key not in repr(read_settings({}))


def test_the_environment_overrides_the_defaults_for_development(folder: Path) -> None:
    environ = {"TRACKER_SECRET_KEY": "given", "TRACKER_DOMAIN": "tracker.example", "TRACKER_HTTPS": "1"}
    found = read_settings(environ)
    assert (found.secret_key, found.domain, found.https) == ("given", "tracker.example", True)
    url = database_url({"TRACKER_DATABASE_URL": "postgresql+psycopg://user@db.example/tracker"})
    assert url.host == "db.example"
    assert not folder.exists()
