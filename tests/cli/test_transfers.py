"""Commands that back up, restore and clone a tenant."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine, text

from tests.cli.project import Project


def test_a_tenant_is_backed_up_verified_and_restored_as_another(fleet: Project, project_engine: Engine) -> None:
    done = fleet.invoke("backup", "acme", "-o", "acme.tenant")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"Backed up acme \(tables: \d+, rows: 0\), in ", done.out)
    assert (fleet.folder / "acme.tenant").stat().st_mode & 0o777 == 0o600
    assert fleet.invoke("verify", "acme.tenant", "--json").json["revision"] == "t2"
    planned = fleet.invoke("restore", "acme.tenant", "--as", "beta", "--dry-run", "--json")
    assert (planned.code, planned.json["key"], planned.json["is_beside"]) == (0, "beta", False)
    done = fleet.invoke("restore", "acme.tenant", "--as", "beta")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Restored beta (schema t_beta, rows: 0, active)\n"
    with project_engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM t_beta.alembic_version")) == "t2"


def test_a_tenant_is_exported(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.countries VALUES ('de')"))
        connection.execute(text("INSERT INTO t_acme.invoices (id, country) VALUES (1, 'de'), (2, 'de')"))
    done = fleet.invoke("export", "acme")
    assert (done.code, done.err) == (0, "")
    assert re.match(r"Exported acme \(tables: \d+, rows: 2\), in .*acme-export\nrevision +t2\n", done.out)
    assert (fleet.folder / "acme-export" / "invoices.csv").read_text().splitlines()[1][:1] == "1"
    again = fleet.invoke("export", "acme")
    assert (again.code, again.out) == (1, "")
    assert "it exists already" in again.err
    made = fleet.invoke("export", "acme", "--format", "parquet", "-o", "typed", "--json").json
    assert (made["rows"], made["format"], made["tables"]["invoices"]) == (2, "parquet", 2)
    assert fleet.invoke("export", "acme", "--format", "xml").code == 2


def test_beside_a_living_tenant_the_tables_that_differ_are_shown(fleet: Project, project_engine: Engine) -> None:
    fleet.invoke("backup", "acme")
    with project_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO shared.countries VALUES ('de'); INSERT INTO t_acme.invoices (id, country) VALUES (1, 'de')"
            )
        )
    done = fleet.invoke("restore", "acme.tenant")
    assert (done.code, done.err) == (0, "")
    assert "Restored acme-restored (schema t_acme-restored, rows: 0, suspended)" in done.out
    assert [line.split() for line in done.out.splitlines()[2:]] == [["invoices", "1", "0"]]


def test_a_tenant_is_swapped_with_its_copy_and_back(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.countries VALUES ('de')"))
    fleet.invoke("backup", "acme")
    with project_engine.begin() as connection:
        connection.execute(text("INSERT INTO t_acme.invoices (id, country) VALUES (1, 'de')"))
    fleet.invoke("restore", "acme.tenant")
    command = ("swap", "acme", "--with", "acme-restored")
    planned = fleet.invoke(*command, "--dry-run")
    assert (planned.code, planned.err) == (0, "")
    assert "invoices" in planned.out
    assert "give 'acme' the tables in the schema 't_acme-restored'" in planned.out
    assert fleet.invoke(*command, "--dry-run", "--json").json["differences"] == [
        {"table": "invoices", "live": 1, "restored": 0, "is_equal": False}
    ]
    unconfirmed = fleet.invoke(*command)
    assert (unconfirmed.code, "Pass --yes" in unconfirmed.err) == (2, True)
    mistyped = fleet.invoke(*command, typed="acme-restored\n")
    assert (mistyped.code, "Nothing was done." in mistyped.err) == (1, True)
    done = fleet.invoke(*command, typed="acme\n")
    assert done.code == 0
    assert "Swapped acme (schema t_acme-restored) with acme-restored (schema t_acme)\n" in done.out
    again = fleet.invoke(*command, "--dry-run")
    assert (again.code, "to swap back to them" in again.err) == (1, True)
    assert "refuse writes" in fleet.invoke("doctor").out
    back = fleet.invoke(*command, "--back", "--yes", "--json")
    assert (back.code, back.json["tenant"]["schema"], back.json["copy"]["schema"]) == (0, "t_acme", "t_acme-restored")


@pytest.mark.all_cases
def test_a_restored_copy_is_swapped_at_once(fleet: Project) -> None:
    fleet.invoke("backup", "acme")
    for wrong in (("--as", "beta", "--swap", "--yes"), ("--swap",)):
        done = fleet.invoke("restore", "acme.tenant", *wrong)
        assert (done.code, done.out) == (2, "")
    done = fleet.invoke("restore", "acme.tenant", "--swap", "--yes", "--json")
    assert (done.code, done.json["swap"]["tenant"]["schema"]) == (0, "t_acme-restored")
    fleet.invoke("drop", "acme-restored", "--yes")
    done = fleet.invoke("restore", "acme.tenant", "--swap", typed="acme\n")
    assert (done.code, "Swapped acme (schema t_acme-restored~3)" in done.out) == (0, True)
    fleet.invoke("drop", "acme", "--yes")
    done = fleet.invoke("restore", "acme.tenant", "--swap", "--yes")
    assert (done.code, "--swap is for a tenant that exists" in done.err) == (2, True)


def test_a_tenant_is_cloned_with_functions_of_the_application(fleet: Project, project_engine: Engine) -> None:
    with project_engine.begin() as connection:
        connection.execute(text("INSERT INTO shared.countries VALUES ('de')"))
        connection.execute(text("INSERT INTO t_acme.invoices (id, country, note) VALUES (1, 'de', 'secret')"))
    (fleet.folder / "shop" / "demo.py").write_text(
        "from tenantkit.transfer import Transform\n"
        "from shop.app import Invoice\n"
        "ANONYMOUS = Transform(columns={Invoice.note: lambda note: 'x'})\n"
        "def nothing(): return Transform(rows={Invoice: lambda row: None})\n"
    )
    command = ("clone", "acme", "--as", "demo", "--name", "A demo", "--attribute", "plan=free")
    planned = fleet.invoke(*command, "--transform", "shop.demo:ANONYMOUS", "--dry-run")
    assert (planned.code, planned.err) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in planned.out.splitlines()] == [
        "demo, a clone of acme", "A demo", "schema", "main", "t2 -> t2", "1 (tables: 1)", "invoices.note",
    ]  # fmt: skip
    assert fleet.invoke(*command, "--dry-run", "--json").json["rows"] == {"invoices": 1}
    done = fleet.invoke(*command, "--transform", "shop.demo:ANONYMOUS")
    assert (done.code, done.err, done.out) == (0, "", "Cloned acme as demo (schema t_demo, rows: 1, active)\n")
    with project_engine.connect() as connection:
        assert connection.scalar(text("SELECT note FROM t_demo.invoices")) == "x"
    made = fleet.invoke(
        "clone", "acme", "--as", "empty", "--suspended", "--transform", "shop.demo:nothing", "--json"
    ).json
    assert (made["tenant"]["status"], made["rows"]) == ("suspended", {"invoices": 0})
    assert fleet.invoke("list", "--json").json[2]["attributes"] == {}
    for wrong, said in (
        ("shop.app:tenancy", "not a tenantkit.transfer.Transform"),
        ("shop.nowhere:X", "There is no module"),
        ("shop.demo:X", "has no attribute"),
        ("ANONYMOUS", "names no attribute"),
    ):
        failed = fleet.invoke("clone", "acme", "--as", "beta", "--transform", wrong)
        assert (failed.code in {1, 2}, said in failed.err) == (True, True), failed.err
    assert fleet.invoke("clone", "acme").code == 2


def test_a_file_that_exists_is_not_overwritten(fleet: Project) -> None:
    (fleet.folder / "acme.tenant").write_text("precious")
    done = fleet.invoke("backup", "acme")
    assert (done.code, (fleet.folder / "acme.tenant").read_text()) == (1, "precious")
    assert "it exists already" in done.err
    assert "the file cannot be used" in fleet.invoke("verify", "acme.tenant").err


def test_a_tenant_that_fails_does_not_stop_the_backup_of_all(fleet: Project) -> None:
    (fleet.folder / "backups").mkdir()
    (fleet.folder / "backups" / "initech.tenant").write_text("older")
    done = fleet.invoke("backup", "--all", "-o", "backups")
    assert done.code == 1
    assert done.out.startswith("Backed up 2 of 3 tenants")
    assert "initech" in done.err
    assert "it exists already" in done.err
    assert [fleet.invoke("verify", f"backups/{key}.tenant").code for key in ("acme", "umbrella", "initech")] == [
        0,
        0,
        1,
    ]
    again = fleet.invoke("backup", "--all", "-o", "new/backups", "--json")
    assert (again.code, [each["key"] for each in again.json["made"]]) == (0, ["acme", "initech", "umbrella"])


def test_backup_names_a_tenant_or_all(fleet: Project) -> None:
    for arguments in ((), ("--all",), ("acme", "--all", "-o", "x")):
        done = fleet.invoke("backup", *arguments)
        assert (done.code, done.out) == (2, "")
