"""The command lint, without a database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenantkit.lint import squawk
from tests.cli.project import Project

BAD = 'op.execute("TRUNCATE public.invoices")'
DROP = 'op.drop_column("invoices", "note", schema="tenant")'


@pytest.fixture
def offline(bare_project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose server does not exist."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@192.0.2.1/nothing?connect_timeout=1")
    return bare_project


def test_without_findings_the_exit_code_is_0(offline: Project) -> None:
    done = offline.invoke("lint")
    assert (done.code, done.out, done.err) == (0, "", "No findings in 3 revisions.\n")


def test_findings_are_lines_with_a_place_a_rule_and_advice(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    done = offline.invoke("lint")
    assert done.code == 1
    assert done.out.startswith("migrations/tenant/t3.py:9: TK001 This names the schema 'public': ")
    assert done.out.count("\n") == 1
    assert done.err == "1 finding in 4 revisions.\n"


@pytest.mark.parametrize("arguments", [(), ("t3.py",), ("t3",), ("../shared", ".")])
def test_paths_are_relative_to_the_working_folder(
    arguments: tuple[str, ...], offline: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(offline.add_revision("t3", "t2", BAD).parent)
    assert offline.invoke("lint", *arguments).out.startswith("t3.py:9: TK001 ")


def test_json_has_everything(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    offline.add_revision("t4", "t3", DROP)
    done = offline.invoke("lint", "--json")
    assert done.code == 1
    assert {**done.json, "findings": None} == {"revisions": 5, "squawk": True, "findings": None}
    assert [(each["path"], each["line"], each["code"]) for each in done.json["findings"]] == [
        ("migrations/tenant/t3.py", 9, "TK001"),
        ("migrations/tenant/t4.py", 9, "ban-drop-column"),
    ]
    assert all(each["message"].endswith(".") for each in done.json["findings"])


def test_the_output_of_revisions_is_not_on_stdout(offline: Project) -> None:
    offline.add_revision("t3", "t2", 'print("half way")')
    done = offline.invoke("lint", "--json")
    assert done.json["findings"] == []
    assert "half way" in done.err


def test_annotations_have_the_format_of_github(offline: Project) -> None:
    offline.add_revision("t3", "t2", 'op.execute("TRUNCATE public.\\"50%\\"")')
    offline.add_revision("t4", "t3", "raise ValueError('50%')")
    done = offline.invoke("lint", "--github", "t3", "t4")
    first, second = done.out.splitlines()
    assert first.startswith("::error file=migrations/tenant/t3.py,line=9,title=TK001::This names the schema")
    assert "::upgrade() was not checked" in second
    assert "50%25" in second


def test_revisions_are_chosen_by_id_path_and_since(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    assert offline.invoke("lint", "t2", "migrations/shared").err == "No findings in 2 revisions.\n"
    assert offline.invoke("lint", "--since", "t3", "--since", "shared:s1").err == "No findings in 0 revisions.\n"
    assert offline.invoke("lint", "--since", "t2").err == "1 finding in 2 revisions.\n"
    unknown = offline.invoke("lint", "t9")
    assert (unknown.code, unknown.out) == (1, "")
    assert "There is no revision 't9'" in unknown.err


def test_rules_are_ignored_by_option(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    assert offline.invoke("lint", "--ignore", "TK001").code == 0
    assert offline.invoke("lint", "--ignore", "TK002").code == 1


def test_settings_come_from_pyproject(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    offline.add_revision("t4", "t3", 'op.add_column("invoices", sa.Column("n", sa.Integer), schema="tenant")')
    settings = (offline.folder / "pyproject.toml").read_text()
    for section, found in (
        ('ignore = ["TK001"]', []),
        ('since = ["t3"]', []),
        ('enable = ["prefer-bigint-over-int"]', ["TK001", "prefer-bigint-over-int"]),
    ):
        offline.write("pyproject.toml", f"{settings}\n[tool.tenantkit.lint]\n{section}\n")
        done = (
            offline.invoke("lint", "--json", "--since", "t2")
            if "enable" in section
            else offline.invoke("lint", "--json")
        )
        assert [each["code"] for each in done.json["findings"]] == found
    # A revision that is named is checked.
    offline.write("pyproject.toml", f'{settings}\n[tool.tenantkit.lint]\nsince = ["t3"]\n')
    assert offline.invoke("lint", "t3").code == 1
    assert offline.invoke("lint", "--since", "t2").code == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("ignored = []", "[tool.tenantkit.lint] has 'ignored'. It may have enable, ignore, since."),
        ('ignore = "TK001"', "[tool.tenantkit.lint] ignore is no list of strings"),
        ("since = [3]", "[tool.tenantkit.lint] since is no list of strings"),
    ],
)
def test_invalid_settings_are_refused(setting: str, says: str, offline: Project) -> None:
    file = offline.folder / "pyproject.toml"
    file.write_text(f"{file.read_text()}\n[tool.tenantkit.lint]\n{setting}\n")
    done = offline.invoke("lint")
    assert (done.code, done.out) == (1, "")
    assert says in done.err


def test_without_squawk_the_output_does_not_claim_no_findings(
    offline: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squawk, "find", lambda: None)
    offline.add_revision("t3", "t2", DROP)
    done = offline.invoke("lint")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "tenantkit's own rules have 0 findings in 4 revisions. The dangers of PostgreSQL itself were not checked, "
        "because squawk is not installed: pip install 'tenantkit[lint]'.\n"
    )


def test_the_console_script_lints(offline: Project) -> None:
    offline.add_revision("t3", "t2", BAD)
    done = offline.run("lint", "--json", environment={"PATH": os.defpath})
    assert (done.code, done.json["squawk"]) == (1, True)
    assert Path(done.json["findings"][0]["path"]).name == "t3.py"


def test_a_misspelt_rule_is_refused_in_every_place(offline: Project) -> None:
    done = offline.invoke("lint", "--ignore", "zzz")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "There is no rule 'zzz', which ignore names." in done.err
    file = offline.folder / "pyproject.toml"
    file.write_text(f'{file.read_text()}\n[tool.tenantkit.lint]\nenable = ["prefer-bigint"]\n')
    done = offline.invoke("lint")
    assert (done.code, done.out) == (1, "")
    assert "Did you mean prefer-bigint-over-int or prefer-bigint-over-smallint?" in done.err


def test_the_last_checked_line_of_a_revision_is_reported(offline: Project) -> None:
    file = offline.add_revision("t3", "t2", "open('/tmp/x', 'a')")
    file.write_text(f"{file.read_text()}\nreplay = False\n")
    done = offline.invoke("lint")
    assert (done.code, done.out) == (0, "")
    assert "t3.py:9: not checked further, because it works outside of its connection." in done.err
