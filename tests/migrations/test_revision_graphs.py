"""Contradictory revision files are named by each command."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TypeAlias

import pytest

from tenantkit import ConfigurationError, Tenancy
from tenantkit.lint import lint
from tenantkit.migrations import migrate, status
from tenantkit.migrations.graph.revision_graph import RevisionGraph
from tenantkit.revision_files import read_graph
from tests.migrations.environments import Environment

pytestmark = pytest.mark.each_value

Read: TypeAlias = Callable[[Path], object]

READERS: dict[str, Read] = {
    "requests": lambda folder: read_graph(folder / "tenant"),
    "migrations": lambda folder: RevisionGraph(folder, "tenant").order(),
}


@pytest.fixture
def history(environment: Environment) -> Environment:
    environment.add("0001_notes", "pass")
    environment.add("0002_tags", "pass")
    environment.add("0003_links", "pass")
    return environment


def rename(history: Environment, file: str, old: str, new: str) -> Path:
    path = history.folder / "tenant" / f"{file}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("copied", ["0001_notes", "0002_tags", "0003_links"])
def test_two_files_with_one_revision_are_both_named(history: Environment, copied: str, read: Read) -> None:
    file = history.folder / "tenant" / f"{copied}.py"
    copy = file.with_name("copy.py")
    copy.write_text(file.read_text())
    with pytest.raises(ConfigurationError, match=f"both have the revision '{copied}'") as caught:
        read(history.folder)
    assert {file.name, copy.name} <= {*re.findall(r"\w+\.py", str(caught.value))}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("down_revision = 'gone'", "has down_revision = 'gone', and no file"),
        ("down_revision = '0002_tag'", "has down_revision = '0002_tag', .* missing"),
        ("down_revision = '0002'", "has down_revision = '0002', .* missing"),
        ("down_revision = ('0002_tags', 'gone')", "has down_revision = 'gone'"),
        ("down_revision = '0002_tags'\ndepends_on = 'gone'", "has depends_on = 'gone'"),
        ("down_revision = '0002_tags'\ndepends_on = ['0001_notes', 'gone']", "has depends_on = 'gone'"),
    ],
)
def test_a_missing_revision_is_named_with_the_file_that_refers_to_it(
    history: Environment, new: str, says: str, read: Read
) -> None:
    file = rename(history, "0003_links", "down_revision = '0002_tags'", new)
    with pytest.raises(ConfigurationError, match=says) as caught:
        read(history.folder)
    assert file.name in str(caught.value)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_removed_file_is_reported_for_the_next_revision(history: Environment, read: Read) -> None:
    history.remove("0002_tags")
    with pytest.raises(ConfigurationError, match=r"0003_links\.py has down_revision = '0002_tags'"):
        read(history.folder)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_dependency_may_be_a_branch_label(history: Environment, read: Read) -> None:
    rename(history, "0001_notes", "down_revision = None", "down_revision = None\nbranch_labels = 'base_tables'")
    history.add("other", "pass", after="base")
    rename(history, "other", "down_revision = None", "down_revision = None\ndepends_on = 'base_tables'")
    read(history.folder)


def test_every_command_reports_it_once(
    history: Environment, migrated_tenancy: Callable[..., Tenancy], recwarn: pytest.WarningsRecorder
) -> None:
    file = history.folder / "tenant" / "0002_tags.py"
    file.with_name("copy.py").write_text(file.read_text())
    for command in (migrate, status, lint):
        with pytest.raises(ConfigurationError) as caught:
            command(migrated_tenancy())
        assert str(caught.value).count("both have the revision") == 1
    assert not recwarn.list


WAYS_TO_USE_A_TARGET: dict[str, Callable[[RevisionGraph, str], object]] = {
    "resolve": lambda graph, target: graph.resolve(target),
    "upgrade": lambda graph, target: graph.upgrade_steps(target, ()),
    "downgrade": lambda graph, target: graph.downgrade_steps(target, ("0003_links",)),
    "stamp": lambda graph, target: graph.stamp_steps(target, ()),
}


@pytest.mark.parametrize("use", WAYS_TO_USE_A_TARGET.values(), ids=WAYS_TO_USE_A_TARGET)
def test_a_malformed_target_is_refused_and_not_taken_in_part(
    history: Environment, use: Callable[[RevisionGraph, str], object]
) -> None:
    graph = RevisionGraph(history.folder, "tenant")
    for target in ("", ",", "@", "@@", "head@", "@head", "+1.5", "-1.5", "+1+1", "-1-1", "+1@", "base+1+1", "head-1x"):
        with pytest.raises(ConfigurationError, match="is no revision, and no number of steps such as"):
            use(graph, target)
    for length in range(1, 5):
        for signs in product("@+-,.1h", repeat=length):
            try:
                use(graph, "".join(signs))
            except ConfigurationError as error:
                assert "Correct the file" not in str(error)  # noqa: PT017 - some are targets
