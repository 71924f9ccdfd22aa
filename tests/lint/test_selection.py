"""Selection of revisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tenantkit import Tenancy
from tenantkit.exceptions import ConfigurationError
from tenantkit.lint import lint
from tests.lint.snippets import revision


@pytest.fixture
def looked_at(
    migrations: Path, nowhere: Callable[..., Tenancy], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Return the revisions that are checked: all have findings."""
    monkeypatch.setattr("tenantkit.lint.squawk.find", lambda: None)
    for line, ids in (("shared", ["0001", "0002", "5abc"]), ("tenant", ["0001", "0002", "0003", "7def", "7xyz"])):
        for name, down in zip(ids, [None, *ids[:-1]], strict=True):
            (migrations / line / f"{name}_it.py").write_text(revision("op.execute('VACUUM x')", name=name, down=down))

    def run(*wanted: str, since: Sequence[str] = ()) -> list[str]:
        report = lint(nowhere(), wanted, since=since)
        assert report.revisions == len(report.findings)
        return [f"{finding.path.parent.name}:{finding.path.stem.removesuffix('_it')}" for finding in report.findings]

    return run


SHARED = ["shared:0001", "shared:0002", "shared:5abc"]
TENANT = ["tenant:0001", "tenant:0002", "tenant:0003", "tenant:7def", "tenant:7xyz"]


def test_all_revisions_of_both_sides_are_checked(looked_at: Callable[..., list[str]]) -> None:
    assert looked_at() == SHARED + TENANT


def test_since_excludes_the_revision_and_those_before_it(looked_at: Callable[..., list[str]]) -> None:
    assert looked_at(since=["0003"]) == SHARED + TENANT[3:]
    assert looked_at(since=["0002"]) == SHARED[2:] + TENANT[2:]
    assert looked_at(since=["tenant:0002"]) == SHARED + TENANT[2:]
    assert looked_at(since=["tenant:7def", "shared:5abc"]) == TENANT[4:]
    assert looked_at(since=["5a", "7xyz"]) == []


def test_revisions_are_named_by_id_or_its_beginning(looked_at: Callable[..., list[str]]) -> None:
    assert looked_at("0001") == ["shared:0001", "tenant:0001"]
    assert looked_at("tenant:0001", "5a") == ["shared:5abc", "tenant:0001"]
    assert looked_at("0003", since=["0002"]) == ["tenant:0003"]
    assert looked_at("0001", since=["0002"]) == []


def test_revisions_are_named_by_file_or_folder(looked_at: Callable[..., list[str]], migrations: Path) -> None:
    assert looked_at(str(migrations / "tenant" / "0003_it.py")) == ["tenant:0003"]
    assert looked_at(str(migrations / "shared")) == SHARED
    assert looked_at(str(migrations / "env.py")) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "There is no revision 'nothing'"),
        ("7", "There is no revision '7'"),  # of two
        ("shared:7def", "There is no revision 'shared:7def'"),
        ("other:0001", "names no side of the revisions"),
        (".", "is not in"),
    ],
)
def test_an_unknown_selection_is_refused(name: str, says: str, looked_at: Callable[..., list[str]]) -> None:
    with pytest.raises(ConfigurationError, match=says):
        looked_at(name)
    if name != ".":
        with pytest.raises(ConfigurationError, match=says):
            looked_at(since=[name])
