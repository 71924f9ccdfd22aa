"""The command line of an application with several databases."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from tenantkit import Tenancy, migrations
from tests.cli.conftest import project_in
from tests.cli.project import Project

APP = """
from tests.isolation.two_databases import make_sync
tenancy = make_sync({main!r}, {eu!r}, migrations={migrations!r})
"""


@pytest.fixture
def bare_project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Generator[Project]:
    """A project in a folder besides that of the revisions."""
    with project_in(tmp_path_factory.mktemp("project"), monkeypatch) as project:
        yield project


@pytest.fixture
def invoke(bare_project: Project, urls: tuple[URL, URL], fleet: Tenancy) -> Callable[..., Any]:
    def invoke(*arguments: str, down: bool = False, **options: Any) -> Any:
        main, eu = (
            url.render_as_string(hide_password=False) for url in (urls[0], urls[1].set(port=1) if down else urls[1])
        )
        (bare_project.folder / f"app{down:d}.py").write_text(
            APP.format(main=main, eu=eu, migrations=str(fleet.migrations))
        )
        return bare_project.invoke("--app", f"app{down:d}:tenancy", *arguments, **options)

    return invoke


def test_the_databases_are_listed(invoke: Callable[..., Any], fleet: Tenancy, eu: Engine) -> None:
    migrations.migrate(fleet, tenants=["e0"])
    done = invoke("databases")
    assert done.code == 0, done.err
    header, main, other = done.out.splitlines()
    assert header.split() == ["Database", "Tenants", "Size", "Revisions", "State"]
    assert (main.split()[:2], "4 at r1" in main, main.endswith("reachable")) == (["main", "4"], True, True)
    assert ("3 at r1, 1 at r2" in other, other.endswith("reachable")) == (True, True)
    found = {each["name"]: each for each in invoke("databases", "--json").json}
    assert (found["eu"]["tenants"], found["eu"]["error"], found["eu"]["size"] > 1_000_000) == (4, None, True)
    assert found["eu"]["revisions"] == [{"revision": "r1", "tenants": 3}, {"revision": "r2", "tenants": 1}]


def test_one_that_is_down_is_listed_with_the_reason(invoke: Callable[..., Any]) -> None:
    done = invoke("databases", down=True)
    assert (done.code, "the database 'eu' cannot be reached" in done.out, "4 at r1" in done.out) == (1, True, True)
    found = {each["name"]: each for each in invoke("databases", "--json", down=True).json}
    assert (found["eu"]["tenants"], found["eu"]["size"], found["eu"]["revisions"]) == (4, None, [])
    assert "cannot be reached" in found["eu"]["error"]
    assert found["main"]["error"] is None


def test_a_tenant_is_created_where_it_is_asked_for(invoke: Callable[..., Any], fleet: Tenancy) -> None:
    assert invoke("create", "new", "--database", "eu").code == 0
    assert fleet.get("new").placement.database == "eu"
    shown = invoke("show", "new", "--json").json
    assert (shown["database"], shown["revision"]) == ("eu", "r2")
    assert "database    eu" in invoke("show", "new").out
    done = invoke("create", "newer", "--database", "asia")
    assert (done.code, "'asia', which is no database" in done.err) == (1, True)
    assert "cannot be reached" in invoke("show", "new", down=True).out
    assert invoke("create", "newer", "--database", "eu", down=True).code == 1


def test_commands_for_all_tenants_say_what_was_down(invoke: Callable[..., Any]) -> None:
    for command, words in (("status", "unreachable"), ("check", "cannot be reached"), ("doctor", "cannot be reached")):
        done = invoke(command, down=True)
        assert words in done.out, (command, done.out, done.err)
    assert invoke("check", "--json", down=True).json["unreachable"].keys() == {"e0", "e1", "e2", "e3"}
    done = invoke("migrate", "--jobs", "0", down=True)
    assert (done.code, "the database 'eu' cannot be reached" in done.out + done.err) == (1, True)
    assert invoke("migrate", "--jobs", "0").code == 0


def test_keys_that_are_left_out_are_said(make_database: Callable[..., URL], bare_project: Project) -> None:
    main, eu = make_database(), make_database()
    from tests.many_databases.library import APPLICATION

    with closing(Tenancy({"main": main, "eu": eu}, **APPLICATION)) as library:
        library.install()
        from tenantkit.lifecycle.builders import make_shared_tables

        with library.engine.begin() as connection:
            make_shared_tables(connection, library)
        for key in ("a", "b"):
            library.create(key, database="eu")
    (bare_project.folder / "app.py").write_text(
        "from tenantkit import Tenancy\nfrom tests.many_databases.library import APPLICATION\n"
        f"tenancy = Tenancy({ {name: url.render_as_string(hide_password=False) for name, url in (('main', main), ('eu', eu))} }, **APPLICATION)"
    )
    done = bare_project.invoke("--app", "app:tenancy", "check")
    assert (done.code, "book.author_id -> shared.author.id" in done.err) == (0, True), done.err


def test_a_tenant_is_moved_and_back_and_the_move_finished(invoke: Callable[..., Any], fleet: Tenancy) -> None:
    command = ("move", "m1", "--database", "eu")
    planned = invoke(*command, "--dry-run")
    assert (planned.code, len(planned.out.splitlines()), planned.err) == (0, 4, "")
    down = invoke(*command, "--dry-run", "--json", down=True)
    assert (down.code, "the database 'eu' cannot be reached" in down.json["obstacles"][0]) == (1, True)
    for wrong in (("move", "m1"), (*command, "--back"), ("move", "m1", "--finish", "--dry-run"), command):
        done = invoke(*wrong)
        assert (done.code, done.out) == (2, ""), "it needs one direction, and a confirmation"
    mistyped = invoke(*command, typed="m2\n")
    assert (mistyped.code, "Nothing was done." in mistyped.err) == (1, True)
    done = invoke(*command, typed="m1\n")
    assert (done.code, "Moved m1 (schema t_m1 in the database eu); rows: 0" in done.out) == (0, True)
    assert "is there already" in invoke(*command, "--yes").out
    back = invoke("move", "m1", "--back", "--yes", "--json").json
    assert (back["tenant"]["database"], back["former"]["database"], back["rows"]) == ("main", "eu", 0)
    done = invoke("move", "m1", "--finish", typed="m1\n")
    assert (done.code, "Dropped m1-move (schema t_m1 in the database eu)" in done.out) == (0, True)
    assert fleet.diagnose() == []
